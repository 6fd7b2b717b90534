#!/usr/bin/env python3
"""`digdag check`: what it prints and on which stream, how it ends, and what `--json` and `--strict` add (spec/cli.md 6.3)."""
import datetime
import json
import os
import re
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from program import BINARY, ProgramTest  # noqa: E402

ZONE = '  System default timezone: UTC\n\n'
NO_PARAMETERS = '  Parameters:\n    {}\n\n'
NO_SCHEDULES = '  Schedules (0 entries):\n\n'
BANNER = r'\A\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+0000: Digdag v\d+\.\d+\.\d+\n\Z'
BROKEN_SCHEDULE = 'timezone: Asia/Tokyo\nschedule:\n  daily: "07:00"\n+a:\n  echo>: 1\n'


class Check(ProgramTest):
    def check(self, text, *words):
        self.file('w.dig', text)
        return self.digdag('check', *words)

    def warnings(self, done):
        return [line for line in done.err.split('\n') if line.startswith('warning: ')]


class Text(Check):
    # cli 11.67
    def test_an_empty_directory(self):
        done = self.digdag('check')
        self.assertEqual((done.code, done.out), (0, ZONE + '  Definitions (0 workflows):\n\n' + NO_PARAMETERS + NO_SCHEDULES))
        self.assertRegex(done.err, BANNER)

    # cli 11.67
    def test_workflows_stand_in_order_of_their_names_with_what_they_require(self):
        self.file('w.dig', '+a:\n  require>: s\n+b:\n  +c:\n    require>: s\n  +d:\n    call>: s\n')
        one = ZONE + '  Definitions (1 workflows):\n    w (5 tasks)\n      -> s\n\n'
        self.assertEqual(self.digdag('check').out, one + NO_PARAMETERS + NO_SCHEDULES)
        self.file('s.dig', '+a:\n  echo>: 1\n')
        two = ZONE + '  Definitions (2 workflows):\n    s (2 tasks)\n    w (5 tasks)\n      -> s\n\n'
        self.assertEqual(self.digdag('check').out, two + NO_PARAMETERS + NO_SCHEDULES)

    # cli 11.67
    def test_parameters_are_those_of_the_configuration_and_the_command_line(self):
        self.file('p.yml', 'v: {n: 1, list: [x]}\n')
        done = self.digdag('check', '-X', 'params.c=1', '-P', 'p.yml', '-p', 'v.n=2', '-p', 'w=3')
        self.assertIn('\n  Parameters:\n    c: "1"\n    v:\n      "n": "2"\n      list:\n      - "x"\n    w: "3"\n\n', done.out)
        os.mkdir(os.path.join(self.project, 'sub'))
        self.assertIn(f'  Parameters:\n    _project_path: "{os.path.realpath(self.project)}/sub"\n\n', self.digdag('check', '--project', 'sub').out)

    def test_parameters_are_held_against_what_each_workflow_declares(self):
        self.file('w.dig', '_params:\n  region: {enum: [eu, us], required: true}\n  n: {type: integer}\n+a:\n  echo>: 1\n')
        self.assertEqual(self.digdag('check', '--strict', '-p', 'other=1').code, 0)
        self.assert_error(self.digdag('check', '-p', 'region=asia'), 'error: w.dig:2:3: Parameter \'region\' must be one of ["eu","us"] but got "asia"\n    2 |')
        [error] = json.loads(self.digdag('check', '--json', '-p', 'n=five').out)['errors']
        self.assertEqual((error['line'], error['message']), (3, "Parameter 'n' must be of type integer but got \"five\""))
        self.file('v.dig', '_params:\n  n: {type: boolean}\n  project_path: {type: string}\n+a:\n  echo>: 1\n')
        self.assertEqual(self.digdag('check', 'w.dig', '--strict', '-p', 'n=3').code, 0, 'the parameters are those of w')
        self.assert_error(self.digdag('check', '-p', 'n=3'), 'error: v.dig:2:3: ')
        self.assertEqual(self.digdag('check', '--strict', '--project', self.project).code, 0, 'nobody gave _project_path')
        os.remove(os.path.join(self.project, 'v.dig'))
        self.assertEqual(self.warnings(self.digdag('check', '-p', 'regoin=eu')),
                         ["warning: w.dig:1:1: Parameter 'regoin' is given but not declared; did you mean 'region'? [W-unknown-param]"])

    # cli 11.67
    def test_a_schedule_is_shown_with_its_first_times_in_the_zone_of_the_process(self):
        before = datetime.datetime.now(datetime.timezone.utc)
        done = self.check('timezone: Asia/Tokyo\nschedule:\n  daily>: "07:00:00"\n+a:\n  echo>: 1\n')
        after = datetime.datetime.now(datetime.timezone.utc)
        expected = []
        for now in (before, after):
            # 07:00 in Tokyo is 22:00 of the day before in UTC, and the session began at midnight there.
            run = now.replace(hour=22, minute=0, second=0, microsecond=0)
            if run < now:
                run += datetime.timedelta(days=1)
            session = run - datetime.timedelta(hours=7)
            expected.append(f'  Schedules (1 entries):\n    w:\n      daily>: "07:00:00"\n      first session time: {session:%Y-%m-%d %H:%M:%S} +0000\n'
                            f'      first scheduled to run at: {run:%Y-%m-%d %H:%M:%S} +0000 (in ')
        block = done.out[done.out.index('  Schedules'):]
        self.assertTrue(block.startswith(tuple(expected)), block)
        self.assertRegex(block, r'\(in (\d+h )?(\d+m )?\d+s\)\n\n\Z')

    # cli 11.68
    def test_the_name_of_a_workflow_changes_nothing(self):
        plain = self.check('+a:\n  echo>: 1\n')
        for name in ('nope.dig', 'w', 'w.dig'):
            done = self.digdag('check', name)
            self.assertEqual((done.code, done.out), (0, plain.out))

    # cli 11.69
    def test_broken_files_are_all_told_behind_the_time_zone(self):
        self.file('x.dig', '+a: [\n')
        done = self.check('+g:\n  foo: 1\n  +a:\n    echo>: 1\n')
        self.assertEqual(done.out, ZONE)
        self.assert_error(done, '\nerror: x.dig:2:1: ', "\nerror: w.dig:2:3: +w+g contains invalid keys: 'foo'\n    2 |   foo: 1\n      |   ^^^\n")

    def test_a_broken_file_hides_neither_warnings_nor_errors_of_the_others(self):
        self.file('x.dig', '+a: [\n')
        self.file('y.dig', BROKEN_SCHEDULE)
        done = self.check('+a:\n  echo>: 010\n')
        self.assertEqual((done.code, done.out), (1, ZONE))
        self.assertRegex(done.err, r'(?s)warning: w\.dig:2:10: .* \[W-octal\]\nerror: x\.dig:2:1: .*\nerror: y\.dig:2:1: ')

    def test_nothing_of_a_file_is_obeyed_by_the_terminal(self):
        done = self.check('"+a\\e[2J": {echo>: 1}\n"b\\nwarning: c": 1\n+d:\n  echo>: "\u202e"\n  call>: "\\e"\n')
        self.assertEqual(done.code, 1)
        for text in (r"must not contain character '\u001b'", r'+a\u001b[2J', r'b\u000awarning: c'):
            self.assertIn(text, done.err)
        self.assertNotRegex(done.err, '[\x1b\u202e]')
        self.assertEqual(self.warnings(done), [])

    # cli 11.70
    def test_operators_and_templates_are_not_looked_at(self):
        done = self.check('+a:\n  ech>: 1\n+b:\n  echo>: ${1 +}\n')
        self.assertEqual(done.code, 0)
        self.assertEqual(self.warnings(done), [])

    def test_a_project_directory_that_is_missing_is_named(self):
        done = self.digdag('check', '--project', 'nowhere')
        self.assert_error(done, f'\nerror: {os.path.realpath(self.project)}/nowhere (no such file)\n')

    def test_a_wrong_schedule_is_told_last(self):
        done = self.check(BROKEN_SCHEDULE)
        self.assertEqual(done.out, ZONE + '  Definitions (1 workflows):\n    w (2 tasks)\n\n' + NO_PARAMETERS)
        self.assert_error(done, "error: w.dig:2:1: Schedule config requires 'type>: at' parameter: {\"daily\":\"07:00\"}\n"
                          '    2 | schedule:\n      | ^\nhint: ')
        done = self.check('schedule:\n  - daily>: 07:00:00\n  - daily>: 7\n+a:\n  echo>: 1\n')
        self.assert_error(done, 'error: w.dig:3:5: daily> scheduler requires hh:mm:ss format: 7\n    3 |   - daily>: 7\n')

    def test_warnings_stand_on_standard_error_and_change_nothing(self):
        done = self.check('_export:\n  v: 0.5\n+a:\n  echo>: 010\n')
        self.assertEqual((done.code, done.out), (0, ZONE + '  Definitions (1 workflows):\n    w (2 tasks)\n\n' + NO_PARAMETERS + NO_SCHEDULES))
        lines = self.warnings(done)
        self.assertEqual([line.rsplit(' ', 1)[1] for line in lines], ['[W-number-string]', '[W-octal]'])
        self.assertTrue(lines[0].startswith('warning: w.dig:2:6: '), lines)

    def test_a_key_that_means_nothing_to_a_schedule_is_told(self):
        done = self.check('schedule:\n  daily>: 07:00:00\n  skip_on_overtme: true\n+a:\n  echo>: 1\n')
        self.assertEqual((done.code, self.warnings(done)), (0, [
            "warning: w.dig:3:3: Parameter 'skip_on_overtme' is not used at schedule. > Did you mean '[skip_on_overtime]'? "
            "A server refuses it at push. [W-schedule-key]"]))


class Json(Check):
    def json(self, *words):
        done = self.digdag('check', '--json', *words)
        self.assertEqual(done.err, '')
        return done.code, json.loads(done.out)

    def test_one_object_holds_workflows_warnings_and_errors(self):
        self.file('w.dig', '+a:\n  echo>: 010\n')
        self.file('x.dig', '+g:\n  foo: 1\n')
        self.file('y.dig', BROKEN_SCHEDULE)
        code, report = self.json()
        self.assertEqual((code, sorted(report)), (1, ['errors', 'warnings', 'workflows']))
        self.assertEqual([workflow['name'] for workflow in report['workflows']], ['w', 'y'])
        self.assertEqual([(error['file'], error['line'], error['column']) for error in report['errors']], [('x.dig', 2, 3), ('y.dig', 2, 1)])
        self.assertEqual([(w['file'], w['line'], w['column'], w['id']) for w in report['warnings']], [('w.dig', 2, 10, 'W-octal')])

    def test_names_that_are_no_utf8_are_shown_as_far_as_they_are(self):
        with open(os.path.join(self.project.encode(), b'\xff.dig'), 'wb') as out:
            out.write(b'+a: {echo>: 1}\n')
        done = subprocess.run([BINARY, 'check', '--json'], cwd=self.project, env=self.environment, stdout=subprocess.PIPE, timeout=60, check=False)
        error, = json.loads(done.stdout.decode('utf-8', 'strict'))['errors']
        self.assertEqual(error['file'], '\ufffd.dig')

    def test_parameters_are_refused_as_without_it(self):
        for words, message in ((['-p', 'v'], 'Parameter -p expected a value of the form a=b but got:v'), (['-P', 'nope.yml'], 'nope.yml (no such file)')):
            done = self.digdag('check', '--json', *words)
            self.assertEqual((done.code, done.out, done.err), (1, '', f'error: {message}\n'))
        self.assertEqual(self.json('-p', 'v=1'), (0, {'workflows': [], 'errors': [], 'warnings': []}))

    def test_one_workflow_is_chosen_by_its_name(self):
        self.file('w.dig', '+a:\n  echo>: 1\n')
        self.file('x.dig', '+g:\n  foo: 1\n')
        for name in ('w', 'w.dig'):
            code, report = self.json(name)
            self.assertEqual((code, len(report['workflows']), report['errors']), (0, 1, []))
        code, report = self.json('nope')
        self.assertEqual((code, report['workflows'], report['errors'][0]['message']), (1, [], "Workflow 'nope' does not exist"))

    def test_strict_fails_where_there_is_a_warning(self):
        self.file('w.dig', '+a:\n  ech>: 1\n')
        self.assertEqual(self.json()[0], 0)
        code, report = self.json('--strict')
        self.assertEqual((code, [warning['id'] for warning in report['warnings']]), (1, ['W-unknown-operator']))


class Strict(Check):
    def test_suggests_the_limit_of_a_retry(self):
        done = self.check('+a:\n  sh>: exit\n  _retry: {limt: 1}\n', '--strict')
        self.assertIn("w.dig:3:3: _retry of +w+a: limit must be a number ('limt': did you mean 'limit'?) [W-retry]", done.out + done.err)

    def test_shows_an_unknown_operator_where_it_stands(self):
        done = self.check('+a:\n  _retry: 1\n  ech>: 1\n+b:\n  _type: ech\n', '--strict')
        for place, task in (('3:3', '+a'), ('5:3', '+b')):
            self.assertIn(f"w.dig:{place}: unknown operator 'ech>' at task +w{task}; did you mean 'echo>'? [W-unknown-operator]", done.out + done.err)

    def test_ends_with_the_number_of_warnings(self):
        done = self.check('+a:\n  ech>: 1\n+b:\n  echo>: 010\n', '--strict')
        self.assertTrue(done.out.endswith(NO_SCHEDULES))
        self.assertEqual(done.err.split('\n')[-2], 'error: check --strict found 2 warnings')
        self.assertEqual(done.code, 1)
        self.assertEqual(self.check('+a:\n  echo>: 1\n', '--strict').code, 0)

    def places(self, text, *ids):
        """Line, column and message of the warnings with one of these ids."""
        done = self.check(text, '--strict')
        self.assertEqual(done.code, 1, done.err)
        return [re.fullmatch(r'warning: w\.dig:(\d+:\d+: .*) \[(W-[a-z-]+)\]', line).group(1) for line in self.warnings(done) if line.endswith(ids)]

    def test_tasks_that_wait_below_other_keys_are_looked_at(self):
        found = self.places('_error:\n  ehco>: 1\n+l:\n  loop>: 2\n  _do:\n    +x:\n      if>: ${a}\n      _do:\n        fial>: ${1 +}\n'
                            '      _else_do:\n        call>: nope\n      _check:\n        wait>: 1s\n        _error:\n          ech>: 1\n', ']')
        self.assertEqual(found, [
            '11:9: call> nope: there is no file nope.dig',
            "2:3: unknown operator 'ehco>' at task +w^error; did you mean 'echo>'?",
            "9:9: unknown operator 'fial>' at task +w+l^sub+x^sub; did you mean 'fail>'?",
            '9:9: ${1 +} is no JavaScript: SyntaxError: empty expression not allowed',
            "15:11: unknown operator 'ech>' at task +w+l^sub+x^check^error; did you mean 'echo>'?"])

    def test_what_looks_like_a_reserved_key_is_told_on_every_operator(self):
        found = self.places('+a:\n  echo>: 1\n  _eror: {}\n  _error:\n    echo>: 2\n+b:\n  sh>: x\n  _retyr: 1\n  _of_my_own: 1\n+c:\n  fail>: x\n'
                            '  _exprt: {}\n  _workdir: x\n  _timeout: 1m\n+d:\n  for_each>: {v: [1]}\n  _paralel: true\n  do:\n    echo>: 1\n', '[W-unknown-option]')
        self.assertEqual(found, ["3:3: echo> has no option '_eror' at task +w+a; did you mean '_error'?",
                                 "8:3: sh> has no option '_retyr' at task +w+b; did you mean '_retry'?",
                                 "12:3: fail> has no option '_exprt' at task +w+c; did you mean '_export'?",
                                 "17:3: for_each> has no option '_paralel' at task +w+d; did you mean '_parallel'?",
                                 "18:3: for_each> has no option 'do' at task +w+d; did you mean '_do'?"])

    def test_defaults_that_an_operator_reads_from_an_object_of_its_name_are_options(self):
        done = self.check('+a:\n  http>: http://localhost\n  http: {method: GET}\n+b:\n  http_call>: http://localhost\n  http: {method: GET}\n', '--strict')
        self.assertEqual((done.code, self.warnings(done)), (0, []))

    def test_an_expression_stands_in_the_warning_as_it_was_written_and_in_one_line(self):
        found = self.places('+a:\n  sh>: |\n    echo ${1\n      +\n    }\n+b:\n  echo>: ${v => v}\n+c:\n  echo>: ${typeof nothing_of_this_is_there}\n', ']')
        self.assertEqual(found, ['2:3: ${1 +} is no JavaScript: SyntaxError: empty expression not allowed',
                                 '7:3: ${v => v} is no JavaScript: SyntaxError: an arrow function is newer than ES5.1, the language of expressions'])


if __name__ == '__main__':
    unittest.main()
