"""`capacity demo`: the whole service on one machine, with people in it, to be looked at in a browser.

The demo stands outside the service as a platform does: its account, its room and its audience use the public interface
alone (`scene`, `api`, `audience`), and what it sells, its host buys on the host page. Only `stage` knows the service, because it starts it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def run(environ: Mapping[str, str], *, host: str, port: int, audience: bool, data_dir: Path | None = None) -> int:
    """Run the demo until it is told to stop, and return the exit code.

    Its data is in a directory `demo` beneath `data_dir`, by default that of the settings, so that a real server's data
    is never touched.
    Raises SettingError for a setting that cannot work, a port or a directory in use.
    """
    # Imported here, because the audience is a process of its own and does not need the service.
    from capacity.demo import stage

    return stage.run(environ, host=host, port=port, audience=audience, data_dir=data_dir)
