"""The command line: one module for each verb, loaded when the verb is used."""
