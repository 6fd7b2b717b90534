#!/usr/bin/env python3
"""Does the simulation find faults? Puts each patch of faults/ into a copy of the tree, builds simulation_test there (history_test where
the fault is not one of the engine), and demands that a run as long as the one in CI fails; without a patch it must succeed. Prints one
line for each fault; the status is 0 when all were found.

usage: faults.py [--work DIR] [--cmake OPTION]... [NAME...]
"""
import argparse
import filecmp
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.dirname(os.path.dirname(HERE))


def copy_of_tree(work):
    """Writes only what differs, so that what was built there before stays of use, and is stale where a fault was built in."""
    tree = os.path.join(work, 'tree')
    for path in glob.glob(tree + '/**', recursive=True):
        if os.path.isfile(path) and not os.path.exists(os.path.join(TREE, os.path.relpath(path, tree))):
            os.remove(path)

    def copy_changed(source, target):
        if not os.path.exists(target) or not filecmp.cmp(source, target, shallow=False):
            shutil.copy(source, target)

    for name in ('CMakeLists.txt', 'src', 'tests', 'bench'):
        source, target = os.path.join(TREE, name), os.path.join(tree, name)
        if os.path.isdir(source):
            shutil.copytree(source, target, copy_function=copy_changed, dirs_exist_ok=True)
        elif os.path.exists(source):
            os.makedirs(tree, exist_ok=True)
            copy_changed(source, target)
    return tree


def run(command, **options):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options)


def build(name, tree, work, options):
    """The program, or None and what the compiler said."""
    directory = os.path.join(work, 'build')
    if not os.path.exists(os.path.join(directory, 'build.ninja')):
        done = run(['cmake', '-S', tree, '-B', directory, '-G', 'Ninja', '-DCMAKE_BUILD_TYPE=Debug', '-DCMAKE_CXX_FLAGS_DEBUG=-O1', *options])
        if done.returncode:
            return None, done.stdout
    done = run(['ninja', '-C', directory, name])
    if done.returncode:
        return None, done.stdout
    return os.path.join(directory, 'tests', 'simulation', name), ''


def name_of(patch):
    return os.path.splitext(os.path.basename(patch))[0]


def files_of(patch):
    with open(patch, encoding='utf-8') as text:
        return re.findall(r'(?m)^\+\+\+ b/(\S+)', text.read())


def test_of(patch):
    return 'simulation_test' if all(name.startswith('src/engine/') for name in files_of(patch)) else 'history_test'


def is_sound(name, tree, work, options):
    program, said = build(name, tree, work, options)
    sound = run([program], timeout=600) if program else None
    if sound is not None and sound.returncode == 0:
        return True
    print(f'without a fault {name} does not succeed:\n' + (sound.stdout if sound else said))
    return False


def verdict(patch, tree, work, options):
    """'found ...', or what is wrong."""
    with open(patch, encoding='utf-8') as text:
        applied = run(['patch', '-p1', '--no-backup-if-mismatch', '-d', tree], stdin=text)
    if applied.returncode:
        return False, 'does not apply:\n' + applied.stdout
    try:
        program, said = build(test_of(patch), tree, work, options)
        if program is None:
            return False, 'does not build:\n' + said
        began = time.monotonic()
        done = run([program], timeout=600)
        seconds = time.monotonic() - began
        if done.returncode == 0:
            return False, 'NOT FOUND: ' + done.stdout.strip()
        said = done.stdout.strip() or f'it ended with status {done.returncode}'
        return True, f'found in {seconds:.1f} s: ' + said.splitlines()[0][:150]
    except subprocess.TimeoutExpired:
        return True, 'found: the run does not end'
    finally:
        for name in files_of(patch):
            shutil.copyfile(os.path.join(TREE, name), os.path.join(tree, name))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--work', help='keeps the copy and the build here')
    parser.add_argument('--cmake', action='append', default=[], metavar='OPTION', help='for cmake, e.g. -DCMAKE_CXX_COMPILER=clang++')
    parser.add_argument('names', nargs='*', metavar='NAME', help='only these faults')
    arguments = parser.parse_args()
    work = arguments.work or tempfile.mkdtemp(prefix='simulation-faults-')
    tree = copy_of_tree(work)
    missed = count = 0
    try:
        patches = [patch for patch in sorted(glob.glob(os.path.join(HERE, 'faults', '*.patch')))
                   if not arguments.names or name_of(patch) in arguments.names]
        if not all(is_sound(name, tree, work, arguments.cmake) for name in sorted({test_of(patch) for patch in patches})):
            return 1
        for patch in patches:
            count += 1
            found, line = verdict(patch, tree, work, arguments.cmake)
            missed += not found
            print(f'{name_of(patch)}: {line}', flush=True)
    finally:
        if not arguments.work:
            shutil.rmtree(work, ignore_errors=True)
    print(f'{count - missed} of {count} faults found')
    return 1 if missed or not count else 0


if __name__ == '__main__':
    sys.exit(main())
