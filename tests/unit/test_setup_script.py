"""The set-up script's decisions, with stand-ins for Python, apt-get and the user's rights on the PATH."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REAL_TOOLS = [
    "bash",
    "cat",
    "chmod",
    "cp",
    "cut",
    "dirname",
    "env",
    "grep",
    "mkdir",
    "rm",
    "sed",
    "sha256sum",
    "tail",
    "tee",
    "touch",
]
NODE_TESTS = Path("tests/integration/jose")
# A Python that tells its version and has ensurepip only if a file lies beside it.
PYTHON = """#!/bin/sh
case "$2" in
  *'(3, 11)'*) exit {too_old} ;;
  *'import ensurepip'*) test -e "$(dirname "$0")/ensurepip" ;;
  *'%d.%d'*) echo 3.11 ;;
esac
"""
# One that makes an environment of itself, and a pip that only tells what it was asked to install.
WHOLE_PYTHON = """#!/bin/sh
case "$*" in
  '-m venv --clear .venv') rm -rf .venv; mkdir -p .venv/bin; cp "$0" .venv/bin/python; echo environment >>"$CALLS" ;;
  '-m pip install'*' -e .') echo project >>"$CALLS" ;;
  '-m pip install'*) for last; do :; done; echo "$last" >>"$CALLS" ;;
esac
"""
APT_GET = """#!/bin/sh
echo "apt-get $* policy=$(cat "$POLICY" 2>/dev/null | tail -n 1)" >>"$CALLS"
case "$*" in install*) {installs} ;; esac
"""


class Machine:
    """A made-up machine: a folder of programs, and a shell that finds nothing else."""

    def __init__(self, folder: Path) -> None:
        self.programs = folder / "bin"
        self.programs.mkdir()
        self.policy = folder / "policy-rc.d"
        self.calls = folder / "calls"
        for tool in REAL_TOOLS:
            (self.programs / tool).symlink_to(shutil.which(tool))

    def add(self, name: str, text: str) -> None:
        path = self.programs / name
        path.write_text(text)
        path.chmod(0o755)

    def run(self, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Source the set-up script, which then does nothing by itself, and run some of its functions."""
        place = {"PATH": str(self.programs), "POLICY": str(self.policy), "CALLS": str(self.calls)}
        command = [shutil.which("bash"), "-c", f'source "{ROOT}/.ci/setup"; {script}']
        return subprocess.run(command, env=place | environment, capture_output=True, text=True, timeout=30, check=False)

    def told(self) -> list[str]:
        return self.calls.read_text().splitlines() if self.calls.exists() else []


@pytest.fixture
def machine(tmp_path):
    made = Machine(tmp_path)
    made.add("id", "#!/bin/sh\necho 0\n")
    made.add("sudo", "#!/bin/sh\nexit 1\n")
    made.add("python3", PYTHON.format(too_old=0))
    made.add("apt-get", APT_GET.format(installs=f'touch "{made.programs}/ensurepip"'))
    return made


def mend(machine, **environment):
    return machine.run('mend_python "$(find_python)"', **environment)


def test_a_missing_ensurepip_is_installed_for_root(machine):
    done = mend(machine)
    assert done.returncode == 0, done.stderr
    assert "installing python3.11-venv" in done.stderr
    assert [call.split(" policy=")[0] for call in machine.told()] == [
        "apt-get update -qq",
        "apt-get install -y -qq --no-install-recommends python3.11-venv",
    ]


def test_no_service_starts_while_a_package_is_installed(machine):
    mend(machine)
    assert machine.told()[-1].endswith("policy=exit 101")
    assert not machine.policy.exists()


def test_a_policy_that_was_there_stays_as_it_was(machine):
    machine.policy.write_text("# the administrator's own\n")
    mend(machine)
    assert machine.policy.read_text() == "# the administrator's own\n"


def test_the_policy_goes_away_when_the_installation_fails(machine):
    machine.add("apt-get", APT_GET.format(installs="exit 100"))
    done = mend(machine)
    assert done.returncode == 1
    assert "As an administrator run: apt-get install python3.11-venv" in done.stderr
    assert not machine.policy.exists()


def test_sudo_is_used_by_somebody_else_than_root(machine):
    machine.add("id", "#!/bin/sh\necho 1000\n")
    machine.add("sudo", '#!/bin/sh\nshift\necho sudo "$@" >>"$CALLS"\n"$@"\n')
    assert mend(machine).returncode == 0
    assert "sudo apt-get update -qq" in machine.told()


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en_GB.UTF-8", "As an administrator run: apt-get install python3.11-venv"),
        ("vi_VN.UTF-8", "Hãy chạy với quyền quản trị: apt-get install python3.11-venv"),
        ("", "As an administrator run"),
    ],
)
def test_without_rights_it_says_what_to_do(machine, language, words):
    machine.add("id", "#!/bin/sh\necho 1000\n")
    done = mend(machine, LANG=language)
    assert done.returncode == 1
    assert words in done.stderr
    assert machine.told() == []


def test_a_python_that_can_make_environments_goes_first(machine):
    machine.add("python3.12", "#!/bin/sh\nexit 0\n")
    assert machine.run("find_python").stdout == f"{machine.programs}/python3.12\n"


def test_the_named_python_goes_first(machine):
    machine.add("mine", "#!/bin/sh\nexit 0\n")
    machine.add("python3.11", "#!/bin/sh\nexit 0\n")
    assert machine.run("find_python", PYTHON="mine").stdout == f"{machine.programs}/mine\n"


def test_an_old_python_is_not_taken(machine):
    machine.add("python3", PYTHON.format(too_old=1))
    done = machine.run("make_environment")
    assert done.returncode == 1
    assert "Python 3.11 or newer was not found" in done.stderr


@pytest.fixture
def checkout(machine, tmp_path):
    """A checkout of its own, whose set-up script the returned function runs; it answers what was done."""
    folder = tmp_path / "checkout"
    (folder / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "setup", folder / ".ci" / "setup")
    for name in ("requirements.lock", "requirements-dev.lock", "pyproject.toml"):
        (folder / name).write_text("a==1\n")
    (folder / NODE_TESTS).mkdir(parents=True)
    (folder / NODE_TESTS / "package-lock.json").write_text("{}")
    machine.add("python3", WHOLE_PYTHON)
    return folder


def set_up(machine, checkout, want):
    machine.calls.unlink(missing_ok=True)
    command = [str(checkout / ".ci" / "setup"), want]
    place = {"PATH": str(machine.programs), "CALLS": str(machine.calls)}
    subprocess.run(command, env=place, check=True, capture_output=True, timeout=30)
    return machine.told()


@pytest.mark.parametrize(
    ("before", "want", "change", "done"),
    [
        ([], "run", None, ["environment", "requirements.lock", "project"]),
        ([], "dev", None, ["environment", "requirements-dev.lock", "project"]),
        (["run"], "run", None, []),
        (["run"], "dev", None, ["requirements-dev.lock", "project"]),
        (["run", "dev"], "dev", None, []),
        (["dev"], "run", None, []),
        (["dev"], "dev", "pyproject.toml", ["project"]),
        (["dev"], "run", "pyproject.toml", ["project"]),
        (["run"], "run", "requirements.lock", ["environment", "requirements.lock", "project"]),
        (["run"], "run", ".venv/lgsp-setup", ["environment", "requirements.lock", "project"]),
        (["run"], "run", ".venv/bin/python", ["environment", "requirements.lock", "project"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else value,
)
def test_only_what_is_missing_is_made(before, want, change, done, machine, checkout):
    for earlier in before:
        set_up(machine, checkout, earlier)
    if change is not None and change.startswith(".venv/"):
        (checkout / change).unlink()
    elif change is not None:
        (checkout / change).write_text("a==2\n")
    assert set_up(machine, checkout, want) == done


def test_a_moved_checkout_is_set_up_anew(machine, checkout, tmp_path):
    set_up(machine, checkout, "run")
    moved = checkout.rename(tmp_path / "moved")
    assert set_up(machine, moved, "run") == ["environment", "requirements.lock", "project"]


@pytest.mark.parametrize("script", ["setup", "test", "run"])
def test_a_script_is_well_formed_and_may_be_run(script):
    path = ROOT / ".ci" / script
    assert os.access(path, os.X_OK)
    subprocess.run([shutil.which("bash"), "-n", str(path)], check=True, timeout=30)


RABBITMQ = 'ENGINE_PACKAGES=("rabbitmq rabbitmq-server /nowhere/rabbitmq-server");'


@pytest.mark.parametrize(
    ("want", "engines", "asked"),
    [
        ("dev", "", True),
        ("run", "", False),
        ("run", "rabbitmq", True),
        ("run", "other,rabbitmq", True),
        ("run", "other,postgresql", True),
        ("run", "other", False),
    ],
)
def test_an_engine_is_installed_for_the_tests_and_for_a_run_that_names_it(machine, want, engines, asked):
    done = machine.run(f"{RABBITMQ} add_engines {want}", ENGINES=engines)
    assert any("install -y -qq --no-install-recommends rabbitmq-server" in call for call in machine.told()) == asked
    assert ("apt-get install rabbitmq-server" in done.stderr) == asked


def test_an_engine_that_is_there_is_left_alone(machine):
    machine.add("rabbitmq-server", "#!/bin/sh\n")
    done = machine.run(f"{RABBITMQ} add_engines dev")
    assert (done.returncode, done.stderr, machine.told()) == (0, "", [])


def test_an_engine_that_lies_in_a_folder_of_its_version_is_found(machine, tmp_path):
    program = tmp_path / "lib" / "17" / "bin" / "postgres"
    line = f'ENGINE_PACKAGES=("postgresql postgresql {tmp_path}/lib/*/bin/postgres");'
    machine.run(f"{line} add_engines dev")
    assert any(call.startswith("apt-get install") for call in machine.told())
    machine.calls.unlink()
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    done = machine.run(f"{line} add_engines dev")
    assert (done.returncode, done.stderr, machine.told()) == (0, "", [])


@pytest.mark.parametrize(("want", "code"), [("run", 1), ("dev", 0)])
def test_a_run_without_its_engine_ends_and_says_what_to_do_while_the_tests_tell_themselves(machine, want, code):
    machine.add("id", "#!/bin/sh\necho 1000\n")
    done = machine.run(f"{RABBITMQ} add_engines {want}", ENGINES="rabbitmq", LANG="vi_VN.UTF-8")
    assert done.returncode == code
    assert "Hãy chạy với quyền quản trị: apt-get install rabbitmq-server" in done.stderr
    assert machine.told() == []


def test_no_service_starts_while_an_engine_is_installed(machine):
    machine.run(f"{RABBITMQ} add_engines dev")
    assert machine.told()[-1].endswith("policy=exit 101")
    assert not machine.policy.exists()


PINNED = "jsonschema==1 \\\n    --hash=sha256:ab \\\n    --hash=sha256:cd\n    # via lgsp\n"
FETCHING_PYTHON = """#!/bin/sh
echo "$*" >>"$CALLS"
exec {ends}
"""


def fetch(machine, checkout, ends):
    (checkout / "requirements-dev.lock").write_text(f"a==1\n{PINNED}b==2\n")
    (checkout / ".venv" / "bin").mkdir(parents=True, exist_ok=True)
    machine.add("there", FETCHING_PYTHON.format(ends=ends))
    shutil.copy(machine.programs / "there", checkout / ".venv" / "bin" / "python")
    return machine.run(f"cd '{checkout}'; fetch_schema_suite")


def test_the_suite_of_json_schema_is_fetched_once_by_the_hashes_of_the_lock(machine, checkout):
    for _ in range(2):
        assert fetch(machine, checkout, "touch build/fetched/jsonschema-1.tar.gz").returncode == 0
    [call] = machine.told()
    assert "--require-hashes --no-deps --no-binary jsonschema --no-build-isolation" in call
    assert (checkout / "build" / "fetched" / "requirements.txt").read_text() == PINNED


def test_a_suite_that_cannot_be_fetched_is_told_and_left_to_its_tests(machine, checkout):
    done = fetch(machine, checkout, "false")
    assert (done.returncode, "could not be fetched" in done.stderr) == (0, True)


def install(machine, checkout, ends="mkdir -p node_modules"):
    machine.add("npm", f'#!/bin/sh\necho "$*" >>"$CALLS"\n{ends}\n')
    return machine.run(f"cd '{checkout}'; install_node_packages")


def test_packages_of_node_are_installed_when_their_lock_is_another(machine, checkout):
    for text in ("{}", "{}", "{ }"):
        (checkout / NODE_TESTS / "package-lock.json").write_text(text)
        assert install(machine, checkout).returncode == 0
    assert [call.split()[0] for call in machine.told()] == ["ci", "ci"]
    assert all("--ignore-scripts" in call for call in machine.told())


def test_packages_of_node_that_cannot_be_installed_are_told_and_left_to_their_tests(machine, checkout):
    done = install(machine, checkout, "exit 1")
    assert (done.returncode, "could not be installed" in done.stderr) == (0, True)
    assert not (checkout / NODE_TESTS / "node_modules" / "lgsp-setup").exists()
