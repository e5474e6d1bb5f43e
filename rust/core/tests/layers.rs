//! Reads every module of the core and fails on an edge that points upward, or a module without its three-line head.
//! No list of exceptions may enter: an edge is allowed for a whole room or not at all.
//! Answers to: ARCHITECTURE.md B (who may import whom) and F (the module head).
#![allow(clippy::unwrap_used, reason = "a test may fail here")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const LAYER_0: &[&str] = &["terms", "time", "error", "buffer"];

/// Each room above layer 0 and the rooms it may name; layer 0 is everybody's.
const ROOMS: &[(&str, &[&str])] = &[
    ("terms", &[]),
    ("time", &[]),
    ("error", &[]),
    ("buffer", &[]),
    ("selector", &[]),
    ("wire", &["selector"]),
    ("crypto", &[]),
    ("transform", &["wire", "crypto"]),
    ("sa", &["transform", "crypto", "selector"]),
    ("spd", &["selector"]),
    (
        "engine",
        &["wire", "selector", "crypto", "transform", "sa", "spd"],
    ),
];

/// Names from outside that only one room may say.
const ONE_ROOM_ONLY: &[(&str, &str)] = &[
    ("aws_lc_rs", "crypto"),
    ("aes", "crypto"),
    ("blowfish", "crypto"),
    ("camellia", "crypto"),
    ("cast5", "crypto"),
    ("cbc", "crypto"),
    ("ccm", "crypto"),
    ("cmac", "crypto"),
    ("des", "crypto"),
    ("flate2", "crypto"),
    ("ghash", "crypto"),
    ("hmac", "crypto"),
    ("md5", "crypto"),
    ("ripemd", "crypto"),
];

/// What a sans-IO crate never says outside of its tests.
const NEVER: &[&str] = &[
    "std::fs",
    "std::io",
    "std::os",
    "std::thread",
    "std::process",
    "std::env",
    "UdpSocket",
    "TcpStream",
    "SystemTime",
];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
}

/// Every module file with its path below `src`, and the room it belongs to.
fn modules() -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    files(&source(), &mut found);
    let modules = found.iter().map(|path| {
        let name = path.strip_prefix(source()).unwrap().to_str().unwrap().to_owned();
        let room = name.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
        (name, room, fs::read_to_string(path).unwrap())
    });
    modules.collect()
}

/// The text without comments and without the content of string literals.
fn code_only(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
        } else if rest.starts_with("/*") {
            rest = rest.find("*/").map_or("", |end| &rest[end + 2..]);
        } else if rest.starts_with("'\"'") {
            rest = &rest[3..];
        } else if first == '"' {
            let mut escaped = false;
            let end = rest[1..].find(|c: char| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            rest = end.map_or("", |end| &rest[end + 2..]);
            code.push_str("\"\"");
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    code
}

/// The rooms that code names by `crate::room` or `crate::{room, …}`, of whatever depth of braces.
fn rooms_named(code: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        // `$crate::` and `some_crate::` name the same or nothing of ours.
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let path = &code[at + "crate::".len()..];
        if let Some(group) = path.strip_prefix('{') {
            let mut depth = 0;
            let mut start = true;
            let mut word = String::new();
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => start = true,
                    c if start && depth == 0 && (c.is_alphanumeric() || c == '_') => {
                        word.push(c);
                        continue;
                    }
                    _ => {}
                }
                if !word.is_empty() {
                    named.insert(core::mem::take(&mut word));
                    start = c == ',' && depth == 0;
                }
            }
            if !word.is_empty() {
                named.insert(word);
            }
        } else {
            named.insert(
                path.chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect(),
            );
        }
    }
    named
}

/// Whether `super::` in this module leaves its room: too many of them, or one at the top of a room's own file.
fn leaves_its_room(name: &str, code: &str) -> bool {
    let inside = name.split('/').count() - usize::from(name.ends_with("/mod.rs")) - 1;
    let mut depth = 0usize;
    let mut modules: Vec<usize> = Vec::new();
    for line in code.lines() {
        let line = line.trim_start();
        let opens_module = (line.starts_with("mod ") || line.contains(" mod ")) && line.ends_with('{');
        if opens_module {
            modules.push(depth);
        }
        let mut ups = 0;
        let mut rest = line;
        while let Some(at) = rest.find("super::") {
            ups = ups.max(
                1 + rest[at + 7..]
                    .split("super::")
                    .take_while(|piece| piece.is_empty())
                    .count(),
            );
            rest = &rest[at + 7..];
        }
        if ups > inside + modules.len() {
            return true;
        }
        depth = (depth + line.matches('{').count()).saturating_sub(line.matches('}').count());
        while modules.last().is_some_and(|opened| *opened >= depth) {
            modules.pop();
        }
    }
    false
}

/// The words that may stand between `#[cfg(test)]` and a module's name.
const TEST_MODULE: [&str; 3] = [
    "#[cfg(test)]\nmod ",
    "#[cfg(test)]\npub(crate) mod ",
    "#[cfg(test)]\npub(super) mod ",
];

/// The code in front of the tests.
fn without_tests(code: &str) -> &str {
    let end = TEST_MODULE
        .iter()
        .filter_map(|words| code.find(&format!("{words}tests")))
        .min();
    &code[..end.unwrap_or(code.len())]
}

/// Whether the file's own parent declares it under `#[cfg(test)]`, or is itself there for tests.
fn is_for_tests(name: &str) -> bool {
    let path = name.trim_end_matches(".rs").trim_end_matches("/mod");
    let Some((folder, module)) = path.rsplit_once('/') else {
        return false;
    };
    [format!("{folder}/mod.rs"), format!("{folder}.rs")]
        .iter()
        .any(|parent| {
            let text = fs::read_to_string(source().join(parent)).unwrap_or_default();
            let declares = |words: &&str| text.contains(&format!("{words}{module};"));
            TEST_MODULE.iter().any(declares) || (!text.is_empty() && is_for_tests(parent))
        })
}

#[test]
fn no_edge_points_upward() {
    let mut offences = Vec::new();
    for (name, room, text) in modules().iter().filter(|(_, room, _)| room != "lib") {
        let Some((_, may)) = ROOMS.iter().find(|(known, _)| known == room) else {
            offences.push(format!("{name}: the room {room} is not drawn"));
            continue;
        };
        let code = code_only(text);
        for other in rooms_named(&code) {
            let allowed =
                other == *room || LAYER_0.contains(&other.as_str()) || may.contains(&other.as_str());
            if !allowed {
                offences.push(format!("{name}: {room} may not name crate::{other}"));
            }
        }
        if leaves_its_room(name, &code) {
            offences.push(format!("{name}: super:: leaves the room; say crate::"));
        }
        for (word, only) in ONE_ROOM_ONLY {
            if names_crate(&code, word) && room != only {
                offences.push(format!("{name}: {word} belongs to {only}"));
            }
        }
        let shipped = if is_for_tests(name) {
            ""
        } else {
            without_tests(&code)
        };
        for word in NEVER {
            if shipped.contains(word) {
                offences.push(format!("{name}: {word} has no place in a sans-IO core"));
            }
        }
    }
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
}

/// Whether a path in the code begins with the crate, and not with a longer word.
fn names_crate(code: &str, name: &str) -> bool {
    code.match_indices(&format!("{name}::")).any(|(at, _)| {
        !code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_' || before == ':')
    })
}

/// Line one says what the room holds, line two what must not enter, line three what it answers to.
#[test]
fn every_module_has_its_head() {
    let mut offences = Vec::new();
    for (name, _, text) in modules() {
        let head: Vec<&str> = text.lines().take(3).collect();
        let complete = head.len() == 3 && head.iter().all(|line| line.len() > 8 && line.starts_with("//! "));
        if !complete || !head[2].starts_with("//! Answers to: ") {
            offences.push(name);
        }
    }
    assert!(
        offences.is_empty(),
        "without a three-line head:\n{}",
        offences.join("\n")
    );
}

/// Code lines without the tests: 700 is the end.
#[test]
fn no_module_is_too_long() {
    let mut offences = Vec::new();
    for (name, _, text) in modules() {
        let body = without_tests(&text);
        let lines = body
            .lines()
            .filter(|line| !line.trim().is_empty() && !line.trim().starts_with("//"))
            .count();
        if lines > 700 {
            offences.push(format!("{name}: {lines}"));
        }
    }
    assert!(
        offences.is_empty(),
        "longer than 700 code lines:\n{}",
        offences.join("\n")
    );
}

/// The reader itself: what it must see and what it must not.
#[test]
fn the_reader_sees_edges() {
    let code = code_only(
        "use crate::{wire::{ip, esp}, terms::Spi};\nfn f() { crate::sa::x(\"crate::engine\") } // crate::spd",
    );
    let named: Vec<_> = rooms_named(&code).into_iter().collect();
    assert_eq!(named, ["sa", "terms", "wire"]);
    assert!(leaves_its_room("buffer.rs", "use super::wire;"));
    assert!(!leaves_its_room("buffer.rs", "mod tests {\n use super::*;\n}"));
    assert!(!leaves_its_room("wire/udp.rs", "use super::ip;"));
    assert!(leaves_its_room("wire/udp.rs", "use super::super::engine;"));
    assert!(leaves_its_room("wire/mod.rs", "use super::engine;"));
}
