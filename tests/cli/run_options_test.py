#!/usr/bin/env python3
"""Options of `digdag run`: which tasks, which parameters, where the log goes (spec/cli.md 3, 5, 6.2)."""
import os
import re
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from program import ProgramTest, SESSION  # noqa: E402


class RunOptions(ProgramTest):
    def run_it(self, *words, **environment):
        return self.digdag('run', 'w.dig', '--no-save', *SESSION, *words, **environment)


class WhichTasks(RunOptions):
    def setUp(self):
        super().setUp()
        self.file('w.dig', '_export: {top: 1}\n+two:\n  echo>: ${top}\n+three:\n  _export: {between: 2}\n  +inner:\n    echo>: ${top} ${typeof between}\n'
                           '  +more:\n    echo>: m\n+four:\n  +more:\n    echo>: m\n')

    # cli 11.52
    def test_a_task_is_named_by_the_end_of_its_full_name(self):
        for pattern, task in (('+three+inner', '+w+three+inner'), ('+inner', '+w+three+inner'), ('two', '+w+two'), ('wo', '+w+two')):
            done = self.run_it(pattern)
            self.assertEqual((done.code, done.ran()), (0, [task]), pattern)
        self.assertEqual(self.run_it('+three').ran(), ['+w+three+inner', '+w+three+more'])
        for pattern, message in (
                ('+zzz', "Task pattern '+zzz' doesn't match with any tasks. (no match)"),
                ('+more', "Task pattern '+more' is ambiguous. Matching candidates are [+w+three+more, +w+four+more] (multiple task match)"),
                ('e', 'Match patterns excepting direct child (+name+name) is not supported: e (syntax)')):
            done = self.run_it(pattern)
            self.assert_error(done, f'\nerror: {message}\n')
            self.assertEqual(done.ran(), [])

    # cli 11.113: with the warning of decisions C-15
    def test_a_task_alone_sees_the_exports_of_the_file_and_not_of_its_group(self):
        done = self.run_it('+three+inner')
        self.assertIn('\n1 undefined\n', done.out)
        self.assertTrue(done.log('[WARN] (main) cli: _export of the groups around +w+three+inner does not apply: between'))

    # cli 11.53: with the names of decisions C-26
    def test_options_that_contradict_each_other_are_refused_behind_the_usage(self):
        for words, names in ((['-s', '+two', '-g', '+two'], '-s, --start and -g, --goal'), (['-g', '+two', '-e', '+two'], '-g, --goal and -e, --end'),
                             (['-a', '-s', '+two'], '-a, --rerun and -s, --start'), (['-a', '-g', '+two'], '-a, --rerun and -g, --goal')):
            done = self.run_it(*words)
            self.assertEqual((done.code, done.out), (1, ''), words)
            self.assertRegex(done.err, r'(?m)^Usage: digdag run ')
            self.assertTrue(done.err.endswith(f"\nerror: {names} don't work together\n"), done.err)
        self.assertEqual(self.run_it('-s', '+two', '-e', '+three').ran(), ['+w+two'])


class Params(RunOptions):
    # cli 11.54
    def test_values_of_the_command_line_are_texts_and_split_at_commas_that_precede_a_key(self):
        self.file('w.dig', '+a:\n  echo>: \'${JSON.stringify({v: this.v, b: this.b, empty: this[""]})}\'\n')
        for words, expected in ((['v=a,b'], '{"v":"a,b"}'), (['v=a,b=c'], '{"v":"a","b":"c"}'), (['v=a,'], '{"v":"a,"}'), (['v=a,,b'], '{"v":"a,,b"}'),
                                (['v='], '{"v":""}'), (['v=1=2'], '{"v":"1=2"}'), (['=v'], '{"empty":"v"}'), (['v=1', 'v=2'], '{"v":"2"}'),
                                (['v.x.y=1', 'v.z=2'], '{"v":{"x":{"y":"1"},"z":"2"}}')):
            done = self.run_it(*[word for value in words for word in ('-p', value)])
            self.assertIn(f'\n{expected}\n', done.out, words)
        for words in (['-p', 'v=1', '-p', 'v.b=2'], ['-p', 'v.b=2', '-p', 'v=1']):
            self.assert_error(self.run_it(*words), "\nerror: Parameter 'v.b' is set but 'v' is not a object (\"1\") (config)\n")

    # cli 11.55
    def test_a_file_gives_values_with_their_types(self):
        self.file('w.dig', '+a:\n  echo>: ${JSON.stringify(v)}\n')
        self.file('v.yml', 'v: {n: 1, list: [x, 2.5]}\n')
        self.file('v.json', '{"v": 7}\n')
        self.file('more/i.yml', 'other: 1\n!include : deep/v.yml\n')
        self.file('more/deep/v.yml', 'v: true\n')
        for words, expected in ((['-P', 'v.yml'], '{"n":1,"list":["x",2.5]}'), (['-P', 'v.json'], '7'), (['-P', 'more/i.yml'], 'true'),
                                (['-P', 'v.json', '-p', 'v=2'], '"2"'), (['-P', 'v.yml', '-p', 'v.n=2'], '{"n":"2","list":["x",2.5]}'),
                                (['-P', 'v.yml', '-X', 'params.v.n=2', '-X', 'params.v.m=3'], '{"m":"3","n":1,"list":["x",2.5]}')):
            self.assertIn(f'\n{expected}\n', self.run_it(*words).out, words)
        self.file('list.yml', '[1]\n')
        self.file('empty.yml', '')
        self.file('broken.yml', 'a: [\n')
        for name, message in (('missing.yml', 'missing.yml (no such file)'), ('list.yml', 'list.yml:1:1: Expected object to load Config but got [1]'),
                              ('empty.yml', 'empty.yml:1:1: Expected object to load Config but got null'), ('broken.yml', 'broken.yml:2:1: ')):
            done = self.run_it('-P', name)
            self.assert_error(done, '\nerror: ' + message)
            self.assertEqual(done.out, '')
        self.assert_error(self.run_it('-P', 'v.yml', '-P', 'v.json'), '\nerror: Can only specify option -P once.\n')

    # cli 11.56
    def test_a_dry_run_announces_operators_and_calls_none(self):
        self.file('w.dig', '+a:\n  sh>: touch ran ${v}\n+b:\n  fail>: not today\n')
        done = self.run_it('--dry-run', '-p', 'v=1')
        self.assertEqual((done.code, done.ran()), (0, ['+w+a', '+w+b']))
        self.assertTrue(done.log('sh>: touch ran 1'))
        self.assertFalse(self.exists('ran'))

    # cli 11.57
    def test_parameters_of_a_task_are_shown_behind_its_operator_line(self):
        self.file('w.dig', '+a:\n  echo>: v=${v}\n')
        for words, printed in ((['-E'], 'v=1\n'), (['-dE'], ''), (['-d', '-E'], '')):
            done = self.run_it('-p', 'v=1', *words)
            self.assertEqual(done.code, 0, done.err)
            shown = re.search(r'echo>: v=1\n\S+ \S+ \S+ \[WARN\] \([^)]*\) \S+: \n((?:  .*\n)+)\n(.*)', done.out, re.S)
            self.assertIn('  v: "1"\n  timezone: "UTC"\n', shown.group(1))
            self.assertIn('  task_name: "+w+a"\n', shown.group(1))
            self.assertEqual(shown.group(2), printed)

    # cli 11.97
    def test_secrets_of_the_configuration_home_are_seen_and_those_of_the_command_line_win(self):
        self.file('w.dig', '+a:\n  _env: {S: "${secret:db.password}"}\n  sh>: echo $S ${secret:db.password} > seen\n')
        secrets = os.path.join(self.home, 'digdag/secrets')
        os.makedirs(secrets)
        with open(os.path.join(secrets, 'db.password'), 'w', encoding='utf-8') as secret:
            secret.write('fromfile')
        for words, expected in (([], 'fromfile'), (['-X', 'secrets.db.password=fromoption'], 'fromoption')):
            self.assertEqual(self.run_it(*words).code, 0)
            self.assertEqual(self.content('seen'), f'{expected} {expected}\n')


class LogTarget(RunOptions):
    # cli 11.63
    def test_a_log_file_gets_all_lines_with_milliseconds_and_is_appended_to(self):
        self.file('w.dig', '+a:\n  echo>: hello\n')
        for runs in (1, 2):
            done = self.run_it('-L', 'f')
            self.assertEqual((done.code, done.out), (0, 'hello\n'))
            lines = self.content('f').splitlines()
            self.assertEqual(len([line for line in lines if line.endswith('echo>: hello')]), runs)
            for line in lines:
                self.assertRegex(line, r'^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} \+0000 \[(INFO|WARN)\] \([^)]*\): ')

    # cli 11.66
    def test_the_zone_of_the_process_is_that_of_log_lines_and_not_of_the_session(self):
        self.file('w.dig', '+a:\n  echo>: ${session_time} ${timezone}\n')
        done = self.run_it(TZ='Asia/Tokyo')
        self.assertIn('\n2026-01-02T00:00:00+00:00 UTC\n', done.out)
        lines = done.log('')
        self.assertTrue(lines)
        for line in lines:
            self.assertRegex(line, r'^\S+ \S+ \+0900 \[')


if __name__ == '__main__':
    unittest.main()
