"""No module turns data into code: no pickle, no eval, no shell, no unpacking of archives."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import wemoe_pl

PACKAGE = Path(wemoe_pl.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
# Modules that run what they read, or write where it says. Of pickle, the error of torch's reader.
MODULES = {
    "dill",
    "cloudpickle",
    "joblib",
    "marshal",
    "shelve",
    "code",
    "runpy",
    "importlib",
    "imp",
}
FUNCTIONS = {
    "eval", "exec", "compile", "__import__",
    "os.system", "os.popen", "os.execv", "pickle.load", "pickle.loads", "pickle.Unpickler",
    "torch.hub.load", "torch.jit.load", "torch.package.PackageImporter",
    "np.lib.format.read_array", "yaml.unsafe_load", "yaml.full_load", "yaml.load",
    "shutil.unpack_archive", "tarfile.open", "Dataset.from_generator",
}  # fmt: skip
METHODS = {"extract", "extractall", "load_from_checkpoint", "import_module", "read_pickle"}
KEYWORDS = {"shell": True, "allow_pickle": True, "trust_remote_code": True}
# What imports parts of this package, and what imports what the user allows by name.
IMPORTING = {"system/moved_modules.py", "system/own_packages.py"}
SAFE_LOADERS = {"yaml.BaseLoader", "yaml.SafeLoader", "yaml.CSafeLoader"}


def complaints(source: str) -> Iterator[str]:
    """What a module does that none should."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (f"imports {each.name}" for each in node.names if each.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES | {"pickle"}:
            yield f"imports from {node.module}"
        elif isinstance(node, ast.Call):
            yield from complaints_of_call(node)


def complaints_of_call(call: ast.Call) -> Iterator[str]:
    called = ast.unparse(call.func)
    keywords = {each.arg: ast.unparse(each.value) for each in call.keywords}
    is_safe_yaml = called == "yaml.load" and keywords.get("Loader") in SAFE_LOADERS
    if called in FUNCTIONS and not is_safe_yaml:
        yield f"calls {called}"
    if isinstance(call.func, ast.Attribute) and call.func.attr in METHODS:
        yield f"calls .{call.func.attr}"
    if called == "torch.load" and keywords.get("weights_only") != "True":
        yield "calls torch.load without weights_only=True"
    for name, value in KEYWORDS.items():
        if keywords.get(name) == str(value):
            yield f"gives {name}={value}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_turns_data_into_code(path: Path) -> None:
    imports = str(path.relative_to(PACKAGE)) in IMPORTING
    allowed = ["imports from importlib"] if imports else []
    assert list(complaints(path.read_text())) == allowed


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("import dill", "imports dill"),
        ("from pickle import loads", "imports from pickle"),
        ("pickle.load(file)", "calls pickle.load"),
        ("eval(text)", "calls eval"),
        ("torch.load(path)", "calls torch.load without weights_only=True"),
        ("torch.load(path, weights_only=False)", "calls torch.load without weights_only=True"),
        ("np.load(path, allow_pickle=True)", "gives allow_pickle=True"),
        ("yaml.load(text, Loader=yaml.Loader)", "calls yaml.load"),
        ("subprocess.run(text, shell=True)", "gives shell=True"),
        ("archive.extractall(folder)", "calls .extractall"),
    ],
)
def test_what_would_turn_data_into_code_is_found(source: str, complaint: str) -> None:
    assert list(complaints(source)) == [complaint]


def test_models_that_are_put_into_evaluation_are_not_evaluated() -> None:
    assert list(complaints("model.eval()\nyaml.load(text, Loader=yaml.BaseLoader)")) == []
