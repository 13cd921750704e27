"""Promise: the scripts of the gate do what they say, and say what to do where they cannot."""

import hashlib
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent
BROKER = ROOT / "scripts/kafka/broker.sh"


def run(*command: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def is_running(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has asked about is not running."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
    return "State:\tZ" not in status


def test_a_library_that_does_not_exist_is_refused_with_a_remedy() -> None:
    done = run("scripts/onnxruntime.sh", ORT_DYLIB_PATH="/nowhere/libonnxruntime.so")
    assert done.returncode == 1
    assert "/nowhere/libonnxruntime.so" in done.stderr
    assert "do:" in done.stderr
    assert done.stdout == ""


def test_a_library_that_the_user_names_wins(tmp_path: Path) -> None:
    library = tmp_path / "libonnxruntime.so"
    library.touch()
    done = run("scripts/onnxruntime.sh", ORT_DYLIB_PATH=str(library))
    assert (done.returncode, done.stdout.strip()) == (0, str(library))


def test_a_missing_program_is_named_with_what_to_install(tmp_path: Path) -> None:
    for name in ["bash", "sed", "dirname"]:
        found = run("which", name).stdout.strip()
        (tmp_path / name).symlink_to(found)
    done = run(tmp_path / "bash", "scripts/prerequisites.sh", "build", PATH=str(tmp_path))
    assert done.returncode == 1
    assert "cargo is not installed" in done.stderr
    assert "rustup.rs" in done.stderr


def test_a_broker_comes_back_on_its_port_after_a_kill_and_stops_for_good(tmp_path: Path) -> None:
    folder = tmp_path / "broker"
    first = run(BROKER, "start", folder, BELLWETHER_TEST_KAFKA_HEAP="256m")
    assert first.returncode == 0, first.stderr
    address = first.stdout.strip()
    assert (folder / "bootstrap").read_text().strip() == address
    killed = int((folder / "pid").read_text())
    assert run(BROKER, "kill", folder).returncode == 0
    assert not is_running(killed)

    again = run(BROKER, "start", folder, BELLWETHER_TEST_KAFKA_HEAP="256m")
    assert (again.returncode, again.stdout.strip()) == (0, address)
    stopped = int((folder / "pid").read_text())
    assert run(BROKER, "stop", folder).returncode == 0
    assert not is_running(stopped)
    assert not (folder / "pid").exists()


def test_a_process_that_took_over_the_number_of_a_broker_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        (tmp_path / "pid").write_text(f"{stranger.pid}\n")
        assert run(BROKER, "kill", tmp_path).returncode == 0
        assert stranger.poll() is None
        stranger.terminate()


CARGO = """#!/bin/sh
case "$1" in
    --version) echo "cargo 99.0.0" ;;
    metadata) echo '{"target_directory": "TARGET"}' ;;
    build) mkdir -p TARGET/release && install -m 755 /bin/true TARGET/release/bellwether ;;
esac
"""
"""Builds at once a program that does nothing."""


def test_what_is_installed_holds_all_that_the_unit_of_retraining_names(tmp_path: Path) -> None:
    prefix, library, tools = tmp_path / "opt", tmp_path / "libonnxruntime.so", tmp_path / "tools"
    library.touch()
    tools.mkdir()
    (tools / "cargo").write_text(CARGO.replace("TARGET", str(tmp_path / "target")))
    (tools / "cargo").chmod(0o755)
    path = f"{tools}:{os.environ['PATH']}"

    def install() -> None:
        done = run("scripts/install.sh", PREFIX=str(prefix), ORT_DYLIB_PATH=str(library), PATH=path)
        assert done.returncode == 0, done.stderr

    install()
    home, unit = "/opt/bellwether/", (prefix / "pipelines/retrain.service").read_text()
    program, _, pipeline = unit.split("ExecStart=")[1].splitlines()[0].split()
    assert f"WorkingDirectory={home[:-1]}\n" in unit and f"{home}scripts/python-env.sh" in unit
    for name in (program.removeprefix(home), pipeline, "scripts/python-env.sh"):
        assert (prefix / name).is_file(), name
    trainer = prefix / "trainer"
    assert (trainer / "bellwether_trainer/refresh.py").is_file() and not (trainer / "tests").exists()
    assert not (trainer / ".venv").exists() and not list(prefix.rglob("__pycache__"))

    # The environment that somebody made there stays when the next build comes, what is gone from the trainer goes.
    wanted = hashlib.sha256((ROOT / "trainer/requirements.txt").read_bytes()).hexdigest()
    (trainer / ".venv").mkdir()
    (trainer / ".venv/requirements.sha256").write_text(f"{wanted}\n")
    (trainer / "bellwether_trainer/gone.py").touch()
    # So do a pipeline file and the champion; a version that is new comes.
    champion, shipped = prefix / "models/finance-en/champion", prefix / "models/finance-en/3"
    (prefix / "pipelines/market.toml").write_text("mine")
    champion.write_text("4\n")
    shipped.rename(tmp_path / "moved")
    install()
    assert (prefix / "pipelines/market.toml").read_text() == "mine"
    assert champion.read_text() == "4\n" and (shipped / "manifest.json").is_file()
    assert not (trainer / "bellwether_trainer/gone.py").exists()
    found = run(prefix / "scripts/python-env.sh")
    assert (found.returncode, found.stdout.strip()) == (0, str(trainer / ".venv/bin/python")), found.stderr


def test_a_version_that_is_there_is_not_trained_again(tmp_path: Path) -> None:
    for name in ("twitter_financial_news_sentiment", "twitter_financial_news_topic", "sentfin"):
        (tmp_path / f"{name}.jsonl").touch()
    (tmp_path / "models/small/4").mkdir(parents=True)
    wanted = {"DATA": str(tmp_path), "OUT": str(tmp_path / "models"), "NAME": "small", "VERSION": "4"}
    done = run("scripts/model.sh", **wanted, PYTHON="/nowhere", BELLWETHER="/nowhere")
    assert done.returncode == 1 and done.stdout == ""
    assert f"{tmp_path}/models/small/4 is there already" in done.stderr and "VERSION=NUMBER" in done.stderr


def test_the_planted_bugs_still_fit_the_sources() -> None:
    done = run("scripts/planted.sh", "--check")
    assert done.returncode == 0, done.stderr
    assert "bugs can be planted" in done.stdout
