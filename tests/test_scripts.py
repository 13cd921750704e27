"""Promise: the scripts of the gate do what they say, and say what to do where they cannot."""

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


def test_the_planted_bugs_still_fit_the_sources() -> None:
    done = run("scripts/planted.sh", "--check")
    assert done.returncode == 0, done.stderr
    assert "bugs can be planted" in done.stdout
