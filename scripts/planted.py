"""Plants the bugs of tests/planted.toml, one after the other, in a copy of the sources and runs the simulation there.
What is planted in Kafka's adapter names a test of its own, which runs on a real broker.

Prints a table; fails when a bug is not found within the seeds. With --check it only looks whether every bug still fits
the sources, which takes no time: `make test` does that. Names as arguments plant those alone.
"""

import argparse
import contextlib
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
    """Runs the simulation; what finds the bug, None when nothing does. Tests of other rooms prove nothing here."""
    ours = {"SIMULATION_SEEDS": f"0..{seeds}", "SIMULATION_BRIEF": "1"}
    said = failing(folder, ["--lib", TEST], ours)
    if said is None:
        return None
    failed = re.search(r"seeds failed\nseed (\d+): (.*)", said)
    panicked = re.search(r"panicked at (src/pipeline/simulation|src/stream).*\n(.*)", said)
    if failed:
        return f"{failed[1]}: {failed[2]}"
    return f"at once: {panicked[2]}" if panicked else unrun(said)


def on_kafka(folder, test, servers):
    """Runs a test on a real broker; what it says, None when it passes."""
    said = failing(folder, ["--test", "promises", test], {"BELLWETHER_TEST_KAFKA": servers})
    if said is None:
        return None
    panicked = re.search(r"panicked at tests/.*\n(.*)", said)
    return f"`{test.rpartition('::')[2]}`: {panicked[1]}" if panicked else unrun(said)


def failing(folder, tests, ours):
    """Runs tests there; what they say when they fail."""
    ours = ours | {"RUST_BACKTRACE": "0", "CARGO_TARGET_DIR": target_folder()}
    # Each bug is compiled once and runs for a minute: no words for a debugger.
    command = ["cargo", "test", "--locked", "--config=profile.dev.package.bellwether.debug=false", *tests]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=os.environ | ours)
    return None if run.returncode == 0 else run.stdout + run.stderr


def unrun(said):
    """Says why nothing was found: what does not compile, or fails elsewhere, has shown nothing."""
    print(said[-3000:], file=sys.stderr)


@contextlib.contextmanager
def broker(folder):
    """The address of a broker that ends with the block."""
    script = HERE / "scripts/kafka/broker.sh"
    started = subprocess.run([script, "start", folder], capture_output=True, text=True, check=True)
    try:
        yield started.stdout.strip()
    finally:
        subprocess.run([script, "kill", folder], check=False)


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
    if unknown := set(arguments.names) - {bug["name"] for bug in bugs}:
        raise SystemExit(f"no bug of tests/planted.toml: {', '.join(sorted(unknown))}")
    bugs = [bug for bug in bugs if not arguments.names or bug["name"] in arguments.names]
    survivors = []
    print(
        "| planted bug | what it breaks | what finds it: the first seed, or a test |\n| --- | --- | --- |", flush=True
    )
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        pristine, folder = Path(scratch) / "pristine", Path(scratch) / "sources"
        pristine.mkdir()
        copy_of_the_sources(pristine)
        shutil.copytree(pristine, folder)
        servers = None
        if any("test" in bug for bug in bugs):
            servers = stack.enter_context(broker(Path(scratch) / "broker"))
        for bug in bugs:
            for file, text in planted(bug, pristine).items():
                (folder / file).write_text(text)
            test = bug.get("test")
            found = on_kafka(folder, test, servers) if test else simulate(folder, arguments.seeds)
            if found is None:
                survivors.append(bug["name"])
            print(f"| {bug['name']} | {bug['breaks']} | {(found or 'NOT FOUND')[:160]} |", flush=True)
            for edit in edits(bug):
                shutil.copy(pristine / edit["file"], folder / edit["file"])
    if survivors:
        raise SystemExit(f"not found: {', '.join(survivors)}")


if __name__ == "__main__":
    sys.exit(main())
