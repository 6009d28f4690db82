"""`make screenshots`: every page in every state as a picture, to be looked at. Not a test.

    python -m tests.browser.gallery [--only TEXT] [--to FOLDER] [--widths 320,768,1280] [--languages en,de] [--schemes light,dark]

The pictures are named STATE-WIDTH-SCHEME-LANGUAGE.png. By default every state is drawn at three widths in light and dark
in English, and at 320 in the other languages.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Error, sync_playwright

from tests.browser.conftest import CHROMIUM_ARGUMENTS, LANGUAGES, Pages, executable
from tests.browser.scenes import SCENES, Stage
from tests.browser.service import Service

FOLDER = Path("screenshots")
WIDTHS = (320, 768, 1280)


def variants(options: argparse.Namespace) -> list[tuple[int, str, str]]:
    """Widths, schemes and languages to draw in."""
    if options.widths or options.schemes or options.languages:
        return [
            (width, scheme, language)
            for width in map(int, (options.widths or "1280").split(","))
            for scheme in (options.schemes or "light").split(",")
            for language in (options.languages or "en").split(",")
        ]
    english = [(width, scheme, "en") for width in WIDTHS for scheme in ("light", "dark")]
    return english + [(320, "light", language) for language in LANGUAGES if language != "en"]


def main() -> int:
    """Draw. Exit code 1 if a state could not be brought about."""
    parser = argparse.ArgumentParser(prog="python -m tests.browser.gallery", description="Screenshots of every state.")
    parser.add_argument("--only", default="", help="states whose name has this in it")
    parser.add_argument("--to", type=Path, default=FOLDER)
    for name in ("widths", "schemes", "languages"):
        parser.add_argument(f"--{name}", default="")
    options = parser.parse_args()
    chromium = executable()
    if chromium is None:
        print("There is no Chromium.", file=sys.stderr)
        return 1
    options.to.mkdir(parents=True, exist_ok=True)
    failed: list[str] = []
    drawn = 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as directory, sync_playwright() as playwright:
        service = Service(Path(directory), "--no-audience")
        browser = playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM_ARGUMENTS))
        try:
            service.start()
            for name, scene in SCENES.items():
                if options.only not in name:
                    continue
                for width, scheme, language in variants(options):
                    pages = Pages(browser, name)
                    target = options.to / f"{name}-{width}-{scheme}-{language}.png"
                    try:
                        page = scene(Stage(pages, service, width=width, dark=scheme == "dark", language=language))
                        page.screenshot(path=target, full_page=True)
                        drawn += 1
                    except (Error, AssertionError) as error:
                        failed.append(f"{target.name}: {str(error).splitlines()[0]}")
                    pages.close()
        finally:
            browser.close()
            service.close()
    print(f"{drawn} pictures in {options.to}, {time.monotonic() - began:.0f} s.")
    for line in failed:
        print(line, file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
