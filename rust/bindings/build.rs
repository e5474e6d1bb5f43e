//! Builds the shared libraries that the wheel carries for C programs, with the C compiler that Rust links with.
//! No code of theirs may enter: the sources are beside this file, one folder a library.
//! Answers to: ARCHITECTURE.md, "Libraries for C programs".

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

/// What one shared library is made of: its file name, its folder, what it links with.
const LIBRARIES: [(&str, &str, &[&str]); 2] = [
    ("libsallet_preload.so", "preload", &["-ldl", "-pthread"]),
    // A name of its own beside the files of other projects, all called libipsec.so.0: a loader that has one of those
    // in memory must not take it for this one.
    ("libipsec.so", "libipsec", &["-Wl,-soname,libipsec.so"]),
];

/// Warnings are errors in `make lint` only: a user's newer compiler must not refuse what it merely dislikes.
const FLAGS: [&str; 9] = [
    "-std=gnu11",
    "-O2",
    "-fPIC",
    "-shared",
    "-fvisibility=hidden",
    "-Wall",
    "-Wextra",
    "-Wl,-z,relro,-z,now",
    "-Wl,-z,defs",
];

fn main() -> io::Result<()> {
    let into = PathBuf::from(env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("no OUT_DIR"))?);
    for (name, folder, links) in LIBRARIES {
        println!("cargo::rerun-if-changed={folder}");
        build(&into.join(name), &sources(Path::new(folder))?, links)?;
    }
    Ok(())
}

/// The folder's C files in the order of their names, so that a build can be repeated.
fn sources(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<Vec<_>>>()?;
    found.retain(|path| path.extension().is_some_and(|kind| kind == "c"));
    found.sort();
    Ok(found)
}

fn build(library: &Path, sources: &[PathBuf], links: &[&str]) -> io::Result<()> {
    let mut command: Command = cc::Build::new().cargo_metadata(false).get_compiler().to_command();
    command
        .args(FLAGS)
        .args(sources)
        .arg("-o")
        .arg(library)
        .args(links);
    if command.status()?.success() {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "{}: the C compiler failed",
        library.display()
    )))
}
