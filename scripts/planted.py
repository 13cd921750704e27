"""Plants the bugs of tests/planted.toml, one after the other, in a copy of the sources and runs the simulation there.

Prints a table; fails when a bug is not found within the seeds. With --check it only looks whether every bug still fits
the sources, which takes no time: `make test` does that. Names as arguments plant those alone.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
TEST = "pipeline::simulation::nothing_is_lost_and_nothing_comes_twice_whatever_breaks"


def edits(bug):
    """The edits of a bug: file, old and new text."""
    return [bug, *bug.get("also", [])]


def planted(bug, sources):
    """The changed files of a bug; an error when it does not fit."""
    changed = {}
    for edit in edits(bug):
        text = changed.get(edit["file"]) or (sources / edit["file"]).read_text()
        old, new = edit["old"].strip("\n"), edit["new"].strip("\n")
        if text.count(old) != 1:
            raise SystemExit(f"planted.toml: `{bug['name']}` fits {text.count(old)} places of {edit['file']}")
        changed[edit["file"]] = text.replace(old, new)
    return changed


def copy_of_the_sources(folder):
    """What cargo needs, without anything that was built."""
    for name in ["Cargo.toml", "Cargo.lock", "src", "tests", "schemas", "pipelines", "models", "monitoring"]:
        source, target = HERE / name, folder / name
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)


def target_folder():
    """A folder of its own: cargo would take the copy's test for ours, and go on running a planted bug."""
    told = subprocess.run(
        ["cargo", "metadata", "--no-deps", "--format-version", "1"], cwd=HERE, capture_output=True, check=True
    )
    return json.loads(told.stdout)["target_directory"] + "/planted"


def simulate(folder, seeds):
    """Runs the simulation; its exit status and what it said. Tests of other rooms prove nothing here."""
    ours = {"SIMULATION_SEEDS": f"0..{seeds}", "SIMULATION_BRIEF": "1", "RUST_BACKTRACE": "0"}
    ours |= {"CARGO_TARGET_DIR": target_folder()}
    command = ["cargo", "test", "--locked", "--lib", TEST]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=os.environ | ours)
    return run.returncode, run.stdout + run.stderr


def main():
    """Plants and reports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    bugs = tomllib.loads((HERE / "tests/planted.toml").read_text())["bug"]
    if arguments.check:
        for bug in bugs:
            planted(bug, HERE)
        print(f"{len(bugs)} bugs can be planted")
        return
    survivors = []
    print("| planted bug | what it breaks | the first seed that finds it |\n| --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "sources"
        folder.mkdir()
        copy_of_the_sources(folder)
        for bug in bugs:
            if arguments.names and bug["name"] not in arguments.names:
                continue
            for file, text in planted(bug, HERE).items():
                (folder / file).write_text(text)
            code, said = simulate(folder, arguments.seeds)
            failed = re.search(r"seeds failed\nseed (\d+): (.*)", said)
            panicked = re.search(r"panicked at (src/pipeline/simulation|src/stream).*\n(.*)", said)
            if failed:
                row = f"{failed[1]}: {failed[2]}"
            elif code != 0 and panicked:
                row = f"at once: {panicked[2]}"
            elif code != 0:
                raise SystemExit(f"`{bug['name']}` does not compile:\n{said[-3000:]}")
            else:
                survivors.append(bug["name"])
                row = "NOT FOUND"
            print(f"| {bug['name']} | {bug['breaks']} | {row[:120]} |", flush=True)
            for edit in edits(bug):
                shutil.copy(HERE / edit["file"], folder / edit["file"])
    if survivors:
        raise SystemExit(f"not found: {', '.join(survivors)}")


if __name__ == "__main__":
    sys.exit(main())
