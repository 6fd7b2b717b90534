#!/usr/bin/env python3
"""Lists the numbered behaviours of the specification that no test names.

A test names a behaviour in a comment, `execution 32.9` or `operators 14.28, 14.29`: the chapter, then numbers. What a test cannot show yet
stands with its reason in behaviours_exceptions.txt beside this file, one `CHAPTER SECTION.FIRST[-LAST]: reason` to a line.

usage: behaviours.py [SPEC_FOLDER]     (default ../../shared/spec; ends with 1 where a behaviour has neither test nor reason, or has both)
"""
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
# Section of each chapter whose numbered lines (or table rows) are the behaviours.
CHAPTERS = {"language": 12, "execution": 32, "operators": 14, "cli": 11, "scheduling": 14, "rest-api": 18, "server": 23}


def numbered(text, section):
    """The numbers of a section's behaviours: each begins a line or a table row, or follows another on its line, and counts on."""
    inside = re.search(rf"^## {section}\. .*?\n(.*?)(?=^## |\Z)", text, re.M | re.S).group(1)
    last = 0
    for number in re.findall(r"(?:^\| *|^|\s)(\d+)(?:\. | \| )", inside, re.M):
        if int(number) == last + 1:
            last += 1
    return range(1, last + 1)


def names(text):
    """The behaviours that a text names, as (chapter, section, number)."""
    for chapter, numbers in re.findall(rf"\b({'|'.join(CHAPTERS)}) (\d+\.\d+(?:, \d+\.\d+)*)", text):
        for section, number in re.findall(r"(\d+)\.(\d+)", numbers):
            yield chapter, int(section), int(number)


def exceptions():
    found = {}
    for line in (HERE / "behaviours_exceptions.txt").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        chapter, section, first, last, reason = re.fullmatch(r"([\w-]+) (\d+)\.(\d+)(?:-(\d+))?: (.+)", line).groups()
        for number in range(int(first), int(last or first) + 1):
            found[chapter, int(section), number] = reason
    return found


def main():
    spec = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT.parent / "shared" / "spec"
    tests = [p for p in [*ROOT.glob("src/**/*_test.cpp"), *ROOT.glob("tests/**/*_test.cpp"), *ROOT.glob("tests/**/*_test.py")]]
    named = {name for path in tests for name in names(path.read_text())}
    excused = exceptions()
    failed = passed = 0
    for chapter, section in CHAPTERS.items():
        for number in numbered((spec / f"{chapter}.md").read_text(), section):
            behaviour = chapter, section, number
            if (behaviour in named) != (behaviour in excused):
                passed += 1
                continue
            failed += 1
            print(f"{chapter} {section}.{number}: " + ("has a test, and still a reason for none" if behaviour in named else "no test names it"))
    print(f"{passed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
