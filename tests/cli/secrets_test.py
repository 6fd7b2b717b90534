#!/usr/bin/env python3
"""Secrets of this user and of a project."""
import os
import stat
import unittest

from fake_server import ClientTest
from program import Terminal


class LocalSecretsTest(ClientTest):
    def secret(self, key):
        path = os.path.join(self.home, 'digdag/secrets', key)
        with open(path, encoding='utf-8') as file:
            return file.read()

    def set(self, *words, **more):
        return self.digdag('secrets', '--local', '--set', *words, **more)

    # cli 11.94
    def test_set_list_and_delete(self):
        done = self.set('b=2', 'a=1')
        self.assertEqual((done.code, done.out), (0, ''))
        self.assertIn("Secret 'b' set\nSecret 'a' set\n", done.err)
        self.assertEqual((self.secret('a'), self.digdag('secret', '--local').out), ('1', 'a\nb\n'))
        self.assertEqual(self.digdag('secret', '--local', '--json').out, '{"secrets":[{"key":"a"},{"key":"b"}]}\n')
        for path, mode in (('', 0o700), ('a', 0o600)):
            self.assertEqual(stat.S_IMODE(os.stat(os.path.join(self.home, 'digdag/secrets', path)).st_mode), mode)
        self.assertIn("Secret 'a' deleted\nSecret 'nothere' deleted\n", self.digdag('secrets', '--local', '--delete', 'a', 'nothere').err)
        self.assertEqual(self.digdag('secrets', '--local').out, 'b\n')

    # cli 11.95
    def test_where_values_come_from(self):
        self.file('f.txt', 'from a file\n')
        self.file('s.yml', 'y1: a\ny2: 5\n')
        stdin = self.file('stdin', '{"j": "x,y"}')
        self.assertEqual(self.set('f=@f.txt', '@s.yml', 'c=x,y', 'e=', 'q=1=2').code, 0)
        self.assertEqual([self.secret(key) for key in ('f', 'y1', 'y2', 'c', 'e', 'q')], ['from a file\n', 'a', '5', 'x,y', '', '1=2'])
        for word, key, value in (('k=-', 'k', '{"j": "x,y"}'), ('@-', 'j', 'x,y'), ('-', 'j', 'x,y')):
            self.assertEqual(self.set(word, stdin=stdin).code, 0)
            self.assertEqual(self.secret(key), value)
        self.assert_error(self.set('k=-', '@-', stdin=stdin), 'error: Can only read once from stdin')
        self.assert_error(self.set('k=@missing'), 'error: missing (no such file)')

    def test_a_terminal_is_asked_and_does_not_show_the_value(self):
        self.assert_error(self.set('k'), "error: no terminal to ask for 'k'; use k=- or @file")
        terminal = Terminal(self, 'secrets', '--local', '--set', 'k')
        self.assertTrue(terminal.read_until('k:'))
        terminal.type('hidden value\n')
        self.assertEqual(terminal.end(), 0)
        self.assertNotIn('hidden value', terminal.text)
        self.assertEqual(self.secret('k'), 'hidden value')

    # cli 11.96
    def test_what_is_refused_stores_nothing(self):
        self.assert_error(self.set('ok=1', 'bad key=1'), 'Usage: digdag secrets', 'error: Invalid secret key: bad key')
        for key in ('../x', 'a/b', '1a', 'a.', 'a-', 'x' * 256):
            self.assert_error(self.set(key + '=1'), 'Invalid secret key: ')
            self.assert_error(self.digdag('secrets', '--local', '--delete', key), 'Invalid secret key: ')
        self.assert_error(self.set('k=' + 'x' * 16385), 'error: Invalid secret value for key: k')
        self.assert_error(self.digdag('secrets', '--local', '--project', 'p'), 'error: Please specify only one of --project and --local')
        self.assert_error(self.set('a=1', 'a=2'), "error: Duplicate --set secret key: 'a'")
        self.assert_error(self.digdag('secrets', '--local', '--set', 'a=1', '--delete', 'b'), 'error: Please specify only one of --set or --delete')
        self.assert_error(self.digdag('secrets'), 'error: Please specify either --project or --local')
        self.assert_error(self.digdag('secrets', '--local', '--set'), 'error: Expected a value after parameter --set')
        self.assertFalse(os.path.exists(os.path.join(self.home, 'digdag/secrets')))


class ProjectSecretsTest(ClientTest):
    answers = {'GET /api/projects': {'projects': [{'id': '1', 'name': 'p'}]}, 'GET /api/projects/1/secrets': {'secrets': [{'key': 'b'}, {'key': 'a'}]},
               'PUT /api/projects/1/secrets/k': {}, 'DELETE /api/projects/1/secrets/k': {}}

    def test_set_list_and_delete(self):
        self.assertEqual(self.client('secrets', '--project', 'p').out, 'a\nb\n')
        self.assertIn("Secret 'k' set\n", self.client('secrets', '--project', 'p', '--set', 'k=v').err)
        self.assertEqual(self.server.last('PUT').json(), {'value': 'v'})
        self.assertIn("Secret 'k' deleted\n", self.client('secrets', '--project', 'p', '--delete', 'k').err)
        self.assert_error(self.client('secrets', '--project', 'p', '--set', 'other=v'), 'error: Failed to set project secret: Resource not found: ',
                          f'> PUT {self.server.endpoint}/api/projects/1/secrets/other\n')


if __name__ == '__main__':
    unittest.main()
