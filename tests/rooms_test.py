#!/usr/bin/env python3
"""Rule 6 of the design: code includes only rooms below its own. Prints every include that points up."""
import os
import re
import sys

# From the top of the house to the bottom; a room may include what stands below it.
ROOMS = ['cli', 'server', 'schedule', 'executor', 'agent', 'store', 'operators', 'command', 'client', 'engine', 'dig', 'base']
INCLUDE = re.compile(r'^\s*#include "([a-z_]+)/', re.MULTILINE)

source = os.path.join(os.environ.get('DIGDAG_SOURCE_DIR', os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), 'src')
wrong = []
for folder, _, files in os.walk(source):
    room = os.path.relpath(folder, source).split(os.sep)[0]
    for name in files:
        if not name.endswith(('.h', '.cpp')):
            continue
        path = os.path.join(folder, name)
        if room not in ROOMS:
            wrong.append(f'{path}: {room} is no room')
            continue
        for target in INCLUDE.findall(open(path, encoding='utf-8').read()):
            if target not in ROOMS:
                wrong.append(f'{path}: includes {target}/, which is no room')
            elif ROOMS.index(target) < ROOMS.index(room):
                wrong.append(f'{path}: {room} must not include {target}/')
for line in wrong:
    print(line)
sys.exit(1 if wrong else 0)
