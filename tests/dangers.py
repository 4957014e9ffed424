"""What a program must never do with what it was given: unpickle it, evaluate it, hand it to a shell.

Told from its syntax tree: `dangers(source)` lists each place with its line. What Snakemake's own language adds is
told from what Snakemake makes of it: `compiled(path)` and `shell_commands(path)`.
"""

import ast
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

from snakemake.parser import parse
from snakemake.sourcecache import LocalSourceFile

# all of them unpickle, or run what they read
MODULES = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "jsonpickle", "marshal", "shelve", "pty"}
BUILTINS = {"eval", "exec", "compile"}
NAMES = {
    *(f"builtins.{name}" for name in BUILTINS),
    *(f"os.{name}" for name in ("system", "popen", "startfile")),
    *(f"subprocess.{name}" for name in ("getoutput", "getstatusoutput")),
    *(f"torch.{name}" for name in ("hub.load", "jit.load", "package.PackageImporter", "serialization.load")),
    *(f"yaml.{name}" for name in ("unsafe_load", "unsafe_load_all", "full_load", "full_load_all")),
    *(f"yaml.{name}" for name in ("Loader", "CLoader", "FullLoader", "CFullLoader", "UnsafeLoader", "CUnsafeLoader")),
    "asyncio.create_subprocess_shell",
    "shutil.unpack_archive",
}
METHODS = {"read_pickle", "to_pickle", "extractall"}  # of whatever object
SAFE_LOADERS = {"yaml.SafeLoader", "yaml.CSafeLoader"}
IMPORTERS = {"__import__", "importlib.import_module"}
PROCESSES = {f"subprocess.{name}" for name in ("run", "Popen", "call", "check_call", "check_output")}
CONDITIONAL = {"torch.load", "numpy.load", "yaml.load", "yaml.load_all", *IMPORTERS, *PROCESSES}


def _modules(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node, f"{node.module}.{alias.name}") for alias in node.names)


def _aliases(tree: ast.Module) -> dict[str, str]:
    """Return what each imported name stands for (`np` for `numpy`, `run` for `subprocess.run`)."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.asname or alias.name.split(".")[0]: alias.asname and alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return {name: meant or name for name, meant in found.items()}


def _dotted(node: ast.AST, aliases: dict[str, str]) -> str:
    """Return the full name of a name or attribute; an empty text for anything else."""
    if isinstance(node, ast.Name):
        return aliases.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        owner = _dotted(node.value, aliases)
        return f"{owner}.{node.attr}" if owner else ""
    return ""


def _literal(node: ast.AST | None) -> object:
    return node.value if isinstance(node, ast.Constant) else ...


def _harmless(call: ast.Call, name: str, loaders: set[str], aliases: dict[str, str]) -> bool:
    """Whether a call that can be dangerous is not, for what it is told by name."""
    told = {keyword.arg: keyword.value for keyword in call.keywords}
    if name == "torch.load":
        return _literal(told.get("weights_only")) is True
    if None in told:  # **options may hold anything
        return False
    if name == "numpy.load":
        return len(call.args) < 3 and _literal(told.get("allow_pickle", ast.Constant(False))) is False
    if name in ("yaml.load", "yaml.load_all"):
        loader = told.get("Loader", call.args[1] if len(call.args) > 1 else call)
        return _dotted(loader, aliases) in loaders
    if name in PROCESSES:
        return _literal(told.get("shell", ast.Constant(False))) is False
    module = _literal(call.args[0]) if call.args else ...
    return isinstance(module, str) and module.split(".")[0] not in MODULES


def dangers(source: str, allowed: frozenset[str] = frozenset()) -> list[str]:
    """Return `line: name` of each thing in a program that is refused; those in `allowed` are not."""
    tree = ast.parse(source)
    aliases = _aliases(tree)
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    loaders = {c.name for c in classes if c.bases and all(_dotted(b, aliases) in SAFE_LOADERS for b in c.bases)}
    found = [(node, name) for node, name in _modules(tree) if name.split(".")[0] in MODULES or name.endswith(".*")]
    calls = {call.func: call for call in ast.walk(tree) if isinstance(call, ast.Call)}
    for node in ast.walk(tree):
        name = _dotted(node, aliases)
        method = node.attr if isinstance(node, ast.Attribute) else ""
        if name in CONDITIONAL:
            call = calls.get(node)  # type: ignore[call-overload]
            if call is None or not _harmless(call, name, loaders | SAFE_LOADERS, aliases):
                found.append((node, name))
        elif name in BUILTINS | NAMES or method in METHODS:
            found.append((node, name or method))
    return sorted({f"{node.lineno}: {name}" for node, name in found if name not in allowed})  # type: ignore[attr-defined]


# --- Snakemake's language ------------------------------------------------------------------


def compiled(path: Path) -> str:
    """Return the Python program that Snakemake makes of a file of rules."""
    sources = SimpleNamespace(open=lambda _: StringIO(path.read_text(encoding="utf-8")))
    return parse(LocalSourceFile(str(path)), SimpleNamespace(sourcecache=sources), {})[0]


def _command(statement: ast.stmt) -> object:
    """Return what a statement hands to the shell; `...` where that is no plain text, or it does something else."""
    call = statement.value if isinstance(statement, ast.Expr) else None
    return _literal(call.args[0]) if isinstance(call, ast.Call) and _dotted(call.func, {}) == "shell" else ...


def shell_commands(path: Path) -> dict[str, object]:
    """Return each rule's shell command; `...` for a rule that does anything but run one plain text."""
    found = {}
    for node in ast.walk(ast.parse(compiled(path))):
        if isinstance(node, ast.FunctionDef) and "__is_snakemake_rule_func" in {a.arg for a in node.args.args}:
            if len(node.body) == 1 and isinstance(node.body[0], ast.Pass):  # a rule that only has inputs
                continue
            decorators = {_dotted(each.func, {}) for each in node.decorator_list if isinstance(each, ast.Call)}
            by_shell = len(node.body) == 1 and "workflow.shellcmd" in decorators
            found[node.name] = _command(node.body[0]) if by_shell else ...
    return found
