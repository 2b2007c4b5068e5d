"""Bytecode, written once before a host is sealed, so that no process writes any later.

Some installers leave none (`uv pip install`). Then the first import of a module by a command, or by a client's script
that may write here, would add a file that was not sealed, and the next start would be refused for it; and every start
would compile everything anew, since the runtime itself writes no bytecode.
"""

from __future__ import annotations

import warnings

from tlsrt.config.packages import is_checkout, roots
from tlsrt.config.schema import Config


def write_bytecode(config: Config) -> None:
    """Compile what is measured and has no fresh bytecode, where we may write.

    Not in a checkout, where bytecode is not measured. Raises ConfigError for a package that is not installed.
    """
    if is_checkout():
        return
    import compileall  # only init and seal come here

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the code of others
        for root in roots(config):
            compile_one = compileall.compile_dir if root.path.is_dir() else compileall.compile_file
            compile_one(str(root.path), quiet=2)
