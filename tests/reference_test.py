#!/usr/bin/env python3
"""Every configuration key and every warning of the source stands in its page of the manual, and the pages name no others; what the server
says to honour of its configuration is read by somebody."""
import os
import pathlib
import re
import unittest

ROOT = pathlib.Path(os.environ.get('DIGDAG_SOURCE_DIR', pathlib.Path(__file__).resolve().parent.parent))
SERVER_KEYS = re.compile(r'static const std::vector<ConfigKey> keys = {(.*?)\n  };', re.S)
SECTIONS = 'agent|client|config|digdag|eval|executor|io|notification|params|secrets'


def source():
    for path in sorted([*ROOT.glob('src/**/*.cpp'), *ROOT.glob('src/**/*.h')]):
        if not path.name.endswith('_test.cpp'):
            yield re.sub(r'//.*', '', path.read_text())


def server_keys():
    """The table of src/server/config_keys.cpp: each key with the word before it, which says what becomes of it."""
    table = SERVER_KEYS.search((ROOT / 'src/server/config_keys.cpp').read_text()).group(1)
    return {name: use for use, name in re.findall(r'^\s*(\w+\(|{)"([^"]+)"', table, re.M)}


def is_read(key, text):
    """As a whole, or as what stands below a prefix that is read."""
    prefix, _, last = key.rpartition('.')
    parent = prefix.rpartition('.')[2] + '."'
    return f'"{key}"' in text or (parent in text and (last == '*' or f'"{last}"' in text))


def first_column(page):
    """What stands in backticks in the first column of a page's tables; `.x` continues the key before it, NAME and * stand for any name."""
    for row in re.findall(r'^\| (`.*?) \|', (ROOT / 'docs' / page).read_text(), re.M):
        last = ''
        for name in re.findall(r'`([^`]+)`', row):
            last = last.rpartition('.')[0] + name if name.startswith('.') else name
            yield re.sub(r'NAME$', '*', last)


class Reference(unittest.TestCase):
    def test_configuration_keys(self):
        used = {key for text in source() for key in re.findall(rf'"((?:{SECTIONS})\.[A-Za-z0-9._*-]*)"', text)}
        used = {key for key in used if not key.startswith(('io.digdag.util', 'io.digdag.client', 'digdag.archive.'))}
        described = {key for key in first_column('configuration.md') if re.match(rf'({SECTIONS})\.', key)}
        text = (ROOT / 'docs/configuration.md').read_text()
        for key in used:
            # A prefix such as `params.` stands for all keys below it.
            self.assertTrue(any(d.startswith(key) for d in described) if key.endswith('.') else key in described or f'`{key}`' in text,
                            f'{key} is not described in docs/configuration.md')
        prefixes = tuple(key for key in used if key.endswith('.'))
        for key in described:
            self.assertTrue(key in used or key.startswith(prefixes), f'docs/configuration.md describes {key}, which nothing reads')

    def test_keys_of_the_server(self):
        described = {key for key in first_column('configuration.md') if re.match(r'[a-z]', key)}
        self.assertEqual(described, set(server_keys()))
        text = '\n'.join(SERVER_KEYS.sub('', text) for text in source())
        for key, use in server_keys().items():
            if use not in ('untold(', 'ignored(', 'refused('):
                self.assertTrue(is_read(key, text), f'{key} is said to be honoured, but nobody reads it')

    def test_warnings(self):
        given = {name for text in source() for name in re.findall(r'"(W-[a-z0-9-]+)"', text)}
        described = set(first_column('warnings.md'))
        self.assertEqual(given, described)


if __name__ == '__main__':
    unittest.main()
