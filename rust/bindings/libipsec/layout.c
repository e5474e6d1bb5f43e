/*
 * The rows of the dialects, and a policy in the bytes of each.
 * No word of the grammar and no text may enter.
 * Answers to: `sadb_x_policy` and `sadb_x_ipsecrequest` of KAME's net/pfkeyv2.h and of <linux/pfkeyv2.h>.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy.h"

const struct dialect sallet_kame = {
	.inet6_family = 24,
	.length_in_address = true,
	.tcp = true,
	.marks_made_reqids = true,
};
const struct dialect sallet_netbsd = {
	.inet6_family = 24,
	.length_in_address = true,
	.priority_words = true,
	.ports = true,
};
const struct dialect sallet_freebsd = {
	.inet6_family = 28,
	.length_in_address = true,
	.tcp = true,
	.any_mode = true,
};
const struct dialect sallet_linux = {
	.inet6_family = 10,
	.wide_requests = true,
	.priority = true,
	.priority_words = true,
	.forward = true,
	.ports = true,
};

void sallet_append(struct bytes *into, const void *from, size_t length)
{
	size_t room = into->room ? into->room : 64;
	char *grown;

	if (into->failed)
		return;
	while (room - into->length < length)
		room *= 2;
	if (room != into->room) {
		grown = realloc(into->data, room);
		if (!grown) {
			into->failed = true;
			return;
		}
		into->data = grown;
		into->room = room;
	}
	if (length)
		memcpy(into->data + into->length, from, length);
	into->length += length;
}

void sallet_append_text(struct bytes *into, const char *format, ...)
{
	char text[128];
	va_list values;
	int length;

	va_start(values, format);
	length = vsnprintf(text, sizeof(text), format, values);
	va_end(values);
	if (length < 0 || (size_t)length >= sizeof(text))
		into->failed = true;
	else
		sallet_append(into, text, (size_t)length);
}

uint16_t sallet_half(const void *from)
{
	uint16_t value;

	memcpy(&value, from, sizeof(value));
	return value;
}

uint32_t sallet_word(const void *from)
{
	uint32_t value;

	memcpy(&value, from, sizeof(value));
	return value;
}

/* The length of the extension is not known yet: whoever appends the last request writes it. */
void sallet_emit_policy(struct bytes *into, unsigned action, unsigned direction, uint32_t priority)
{
	uint8_t head[POLICY_BYTES] = {0};
	uint16_t extension = POLICY_EXTENSION, type = (uint16_t)action;

	memcpy(head + 2, &extension, sizeof(extension));
	memcpy(head + 4, &type, sizeof(type));
	head[6] = (uint8_t)direction;
	memcpy(head + 12, &priority, sizeof(priority));
	sallet_append(into, head, sizeof(head));
}

static size_t address_bytes(const struct end *end)
{
	return end->bytes == 4 ? INET_BYTES : INET6_BYTES;
}

static void emit_end(struct bytes *into, const struct end *end, const struct dialect *dialect)
{
	uint8_t address[INET6_BYTES] = {0};
	uint16_t family = end->bytes == 4 ? INET_FAMILY : dialect->inet6_family, port = htons(end->port);

	if (dialect->length_in_address) {
		address[0] = (uint8_t)address_bytes(end);
		address[1] = (uint8_t)family;
	} else {
		memcpy(address, &family, sizeof(family));
	}
	memcpy(address + 2, &port, sizeof(port));
	memcpy(address + (end->bytes == 4 ? 4 : 8), end->address, end->bytes);
	sallet_append(into, address, address_bytes(end));
}

static size_t request_head(const struct dialect *dialect)
{
	return dialect->wide_requests ? WIDE_REQUEST_BYTES : NARROW_REQUEST_BYTES;
}

void sallet_emit_request(struct bytes *into, const struct request *request, const struct dialect *dialect)
{
	uint8_t head[WIDE_REQUEST_BYTES] = {0};
	uint16_t length = (uint16_t)request_head(dialect), reqid = (uint16_t)request->reqid;

	if (request->source.bytes)
		length += (uint16_t)(address_bytes(&request->source) + address_bytes(&request->destination));
	memcpy(head, &length, sizeof(length));
	memcpy(head + 2, &request->protocol, sizeof(request->protocol));
	head[4] = request->mode;
	head[5] = request->level;
	if (dialect->wide_requests)
		memcpy(head + 8, &request->reqid, sizeof(request->reqid));
	else
		memcpy(head + 6, &reqid, sizeof(reqid));
	sallet_append(into, head, request_head(dialect));
	if (!request->source.bytes)
		return;
	emit_end(into, &request->source, dialect);
	emit_end(into, &request->destination, dialect);
}

/* Gives the size of the socket address, 0 where there is none. */
static size_t parse_end(const uint8_t *from, size_t length, struct end *end, const struct dialect *dialect)
{
	size_t size;
	uint16_t family, port;

	if (length < 4)
		return 0;
	family = dialect->length_in_address ? from[1] : sallet_half(from);
	if (family != INET_FAMILY && family != dialect->inet6_family)
		return 0;
	size = family == INET_FAMILY ? INET_BYTES : INET6_BYTES;
	if (size > length || (dialect->length_in_address && from[0] != size))
		return 0;
	memcpy(&port, from + 2, sizeof(port));
	end->bytes = family == INET_FAMILY ? 4 : 16;
	end->port = ntohs(port);
	memcpy(end->address, from + (family == INET_FAMILY ? 4 : 8), end->bytes);
	return size;
}

bool sallet_parse_request(const uint8_t *from, size_t length, struct request *request, const struct dialect *dialect)
{
	size_t head = request_head(dialect), size;

	memset(request, 0, sizeof(*request));
	request->protocol = sallet_half(from + 2);
	request->mode = from[4];
	request->level = from[5];
	request->reqid = dialect->wide_requests ? sallet_word(from + 8) : sallet_half(from + 6);
	if (length == head)
		return true;
	size = parse_end(from + head, length - head, &request->source, dialect);
	if (!size || parse_end(from + head + size, length - head - size, &request->destination, dialect) != size)
		return false;
	/* Some pad a request to whole words. */
	return length == head + 2 * size || length == (head + 2 * size + WORD_BYTES - 1) / WORD_BYTES * WORD_BYTES;
}
