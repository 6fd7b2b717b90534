#!/usr/bin/env python3
"""Operators where only the whole program shows the behaviour: names, scopes and order of tasks, several tasks together, real servers."""
import glob
import gzip
import http.server
import json
import os
import sys
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from program import ProgramTest  # noqa: E402


class OperatorTest(ProgramTest):
    def run_workflow(self, text, *words, **environment):
        """Without state files: no run of a test skips what an earlier one did."""
        return super().run_workflow(text, '--no-save', *words, **environment)

    def prints(self, text, *expected, words=(), **environment):
        """A workflow that succeeds and prints these lines among its log, in this order."""
        done = self.run_workflow(text, *words, **environment)
        self.assertEqual(done.code, 0, done.out + done.err)
        self.assertEqual([line for line in done.out.split('\n') if line in expected], list(expected), done.out)
        return done

    def tasks(self, done):
        """The names of the tasks that were announced, in their order."""
        return [line.split(']', 2)[2].split(')')[0] for line in done.log(': ') if '@[0:default:' in line]

    def module(self, text):
        """t.py, the Python of the workflow."""
        self.file('t.py', text)

    def lines(self, name):
        return self.content(name).split('\n')[:-1]


class Common(OperatorTest):
    # operators 14.1
    def test_an_operator_may_be_written_as_type_and_command(self):
        self.prints('+a:\n  _type: echo\n  _command: as type\n+b:\n  echo>: as key\n', 'as type', 'as key')

    # decisions O-22
    def test_the_files_of_programs_stay_where_the_log_level_is_debug(self):
        self.prints('+a:\n  sh>: echo hi\n', 'hi')
        self.assertFalse(self.exists('.digdag/tmp'))
        self.prints('+a:\n  sh>: echo hi\n', 'hi', words=('-l', 'debug'))
        self.assertTrue(glob.glob(os.path.join(self.project, '.digdag', 'tmp', 'digdag-sh-*')))

    # operators 14.2
    def test_an_operator_without_value_has_no_command(self):
        self.assert_error(self.run_workflow('+a:\n  echo>:\n'), '  * +w+a:', "Parameter '_command' is required but not set")

    # operators 14.4
    def test_two_operators_in_a_task_are_refused_before_anything_runs(self):
        done = self.run_workflow('+first:\n  echo>: never\n+a:\n  echo>: a\n  sh>: b\n')
        self.assert_error(done, "A task can't have more than one operator: ")
        self.assertEqual(self.tasks(done), [])

    # operators 14.5
    def test_the_templates_of_do_wait_for_the_generated_task(self):
        self.prints('+a:\n  loop>: 2\n  _do:\n    _export: {twice: "${i * 2}"}\n    echo>: ${i} ${twice}\n', '0 0', '1 2')
        self.module('import digdag\ndef f():\n  digdag.env.store(stored="late")\n')
        self.prints('+a:\n  if>: true\n  _do:\n    +store:\n      py>: t.f\n    +use:\n      echo>: ${stored}\n', 'late')

    # operators 14.6
    def test_an_expression_that_fails_in_an_export_fails_every_task_below(self):
        done = self.run_workflow('+g:\n  _export: {x: "${nope}"}\n  _parallel: true\n  +a:\n    echo>: a\n  +b:\n    sh>: echo b\n')
        self.assert_error(done, '  * +w+g+a:', '  * +w+g+b:', 'Failed to evaluate a variable ${nope} (ReferenceError: nope is not defined')
        self.assertNotIn('\nb\n', done.out)
        self.assertEqual(self.run_workflow('+g:\n  _export: {x: "${nope}"}\n+a:\n  echo>: beside\n').code, 0)

    def error_seen_by_handler(self, task):
        done = self.run_workflow('+a:\n  ' + task + '\n  _error:\n    sh>: \'printf "%s" "$error" > seen\'\n')
        self.assert_error(done, '  * +w+a:')
        return json.loads(self.content('seen'))

    # operators 14.10, 14.11, 14.12
    def test_a_handler_sees_the_error(self):
        self.assertEqual(self.error_seen_by_handler('fail>: boom'), {'message': 'boom'})
        failed = self.error_seen_by_handler('sh>: exit 1')
        self.assertEqual(failed['message'], 'Command failed with code 1 (runtime)')
        self.assertIsInstance(failed['stacktrace'], str)
        for task in ['nosuch>: 1', 'echo>: [1]', 'loop>: 3', 'wait>: soon', 'sh>: x\n  _retry: true']:
            with self.subTest(task):
                self.assertRegex(self.error_seen_by_handler(task)['message'], r' \(config\)$')
        done = self.run_workflow('+a:\n  fail>: boom\n  _error:\n    echo>: it said ${error.message}, ${typeof error.stacktrace}\n')
        self.assertIn('\nit said boom, undefined\n', done.out)

    # operators 14.13, 14.18
    def test_retry_runs_the_script_so_many_times_more(self):
        for retry in ['2', '"2"', '${n}', '{limit: 2}', '{limit: "${n}"}']:
            with self.subTest(retry):
                self.file('ran', '')
                done = self.run_workflow('+a:\n  sh>: echo x >> ran; exit 1\n  _retry: ' + retry + '\n', '-p', 'n=2')
                self.assert_error(done, 'Command failed with code 1')
                self.assertEqual(len(self.lines('ran')), 3)

    # operators 14.14
    def test_the_waits_of_an_exponential_retry_double(self):
        self.assert_error(self.run_workflow('+a:\n  sh>: date +%s%N >> ran; exit 1\n'
                                            '  _retry: {limit: 3, interval: 1, interval_type: exponential}\n'), '+w+a')
        times = [int(line) / 1e9 for line in self.lines('ran')]
        self.assertEqual(len(times), 4)
        for seconds, earlier, later in zip([1, 2, 4], times, times[1:]):
            self.assertGreaterEqual(later - earlier, seconds - 0.01)

    # operators 14.17
    def test_a_fail_is_not_repeated(self):
        done = self.run_workflow('+a:\n  fail>: boom\n  _retry: 3\n')
        self.assert_error(done, 'boom')
        self.assertEqual(self.tasks(done).count('+w+a'), 2, 'announced, and failed')

    # operators 14.24
    def test_a_plugin_without_dependencies_brings_no_operator(self):
        done = self.run_workflow('_export:\n  plugin:\n    repositories: [https://example.org/]\n+a:\n  other>: x\n')
        self.assert_error(done, '  * +w+a:', 'Unknown task type: other')


class Call(OperatorTest):
    # operators 14.28, 14.29
    def test_its_tasks_stand_below_sub(self):
        self.file('sub.dig', '+child:\n  echo>: from the file\n')
        done = self.prints('+step:\n  call>: sub\n+again:\n  call>: sub.dig\n', 'from the file', 'from the file')
        self.assertEqual(self.tasks(done), ['+w+step', '+w+step^sub+child', '+w+again', '+w+again^sub+child'])

    # operators 14.30, 14.101
    def test_a_file_of_a_subdirectory_works_there(self):
        self.file('common/x.dig', '+a:\n  sh>: pwd; cat data; echo ${_workdir}\n+b:\n  call>: y\n+c:\n  py>: near.f\n')
        self.file('common/y.dig', '+a:\n  echo>: called from there\n')
        self.file('common/data', 'data of common\n')
        self.file('common/near.py', 'def f():\n  print("python of common")\n')
        self.prints('+a:\n  call>: common/x.dig\n+b:\n  sh>: pwd\n', os.path.realpath(self.project) + '/common', 'data of common', 'common',
                    'called from there', 'python of common', os.path.realpath(self.project))

    # operators 14.32, 14.38
    def test_time_zone_and_schedule_of_the_file_do_not_matter(self):
        self.file('sub.dig', 'timezone: Asia/Tokyo\nschedule:\n  daily>: 07:00:00\n+a:\n  echo>: zone ${timezone}\n')
        self.prints('timezone: Europe/Paris\n+a:\n  call>: sub\n', 'zone Europe/Paris')

    # operators 14.33, 14.34
    def test_what_its_tasks_export_stays_and_what_they_store_goes_on(self):
        self.module('import digdag\ndef f():\n  digdag.env.store(kept=1)\n  digdag.env.export(gone=1)\n')
        self.file('sub.dig', '_export: {mine: 5}\n+a:\n  echo>: inside ${mine}\n+b:\n  py>: t.f\n')
        self.prints('+a:\n  call>: sub\n+b:\n  echo>: ${kept} ${typeof mine} ${typeof gone}\n', 'inside 5', '1 undefined undefined')

    # operators 14.37
    def test_it_passes_exports_and_not_its_own_keys(self):
        self.file('sub.dig', '+a:\n  echo>: ${typeof own} ${exported} ${inherited}\n')
        self.prints('_export: {inherited: 1}\n+a:\n  call>: sub\n  own: 2\n  _export: {exported: 3}\n', 'undefined 3 1')

    # operators 14.35, 14.36, 14.39
    def test_files_that_cannot_be_called_are_named(self):
        self.file('sub.dig', 'foo: 1\n+a:\n  echo>: x\n')
        self.file('self.dig', '+a:\n  call>: self\n')
        for file, message in [('no_such', 'File not found: ' + os.path.realpath(self.project) + '/no_such.dig'),
                              ('sub', "Workflow 'sub' includes unknown keys: [foo]"),
                              ('self', 'call> recursion: self -> self')]:
            with self.subTest(file):
                self.assert_error(self.run_workflow('+a:\n  call>: ' + file + '\n'), message)


class Require(OperatorTest):
    # operators 14.48
    def test_starts_the_workflow_once_for_the_session_and_waits_for_it(self):
        self.file('child.dig', '+a:\n  sh>: sleep 0.2; echo child of ${session_date} >> ran\n')
        self.prints('+a:\n  require>: child\n+b:\n  sh>: echo after >> ran\n+c:\n  require>: child\n')
        self.assertEqual(self.lines('ran'), ['child of 2026-01-02', 'after'])

    # operators 14.50
    def test_runs_it_again_where_told_to(self):
        self.file('child.dig', '+a:\n  sh>: echo >> ran; test -e good\n')
        text = '+a:\n  require>: child\n  ignore_failure: true\n+b:\n  require>: child\n  ignore_failure: true\n  rerun_on: '
        for rerun_on, good, times in [('none', False, 1), ('failed', False, 2), ('failed', True, 1), ('all', True, 2)]:
            with self.subTest(rerun_on=rerun_on, good=good):
                self.file('ran', '')
                if good:
                    self.file('good', '')
                self.prints(text + rerun_on + '\n')
                self.assertEqual(len(self.lines('ran')), times)

    # operators 14.51, 14.52
    def test_fails_with_it_unless_told_not_to(self):
        self.file('child.dig', '+a:\n  fail>: boom\n')
        self.assert_error(self.run_workflow('+a:\n  require>: child\n'), '+w+a', 'Dependent workflow failed. Session id: 2, attempt id: 2')
        self.prints('+a:\n  require>: child\n  ignore_failure: true\n+b:\n  echo>: on\n', 'on')

    # operators 14.53, 14.54
    def test_names_what_it_does_not_find(self):
        self.file('child.dig', '+a:\n  echo>: found\n')
        self.assert_error(self.run_workflow('+a:\n  require>: nope\n'),
                          'Dependent workflow does not exist. projectId: 1, workflowName:nope')
        self.assert_error(self.run_workflow('+a:\n  require>: child\n  project_name: other\n'),
                          'Dependent workflow does not exist. projectName: other, workflowName:child')
        self.assert_error(self.run_workflow('+a:\n  require>: child\n  project_name: default\n  project_id: 1\n'),
                          "Both project_id and project_name can't be set")
        self.prints('+a:\n  require>: child\n  project_name: default\n', 'found')

    # operators 14.55
    def test_only_its_params_reach_the_workflow(self):
        self.file('child.dig', '+a:\n  echo>: ${a} ${typeof exported}\n')
        self.prints('_export: {exported: 2}\n+a:\n  require>: child\n  params: {a: 1}\n  _export: {exported: 3}\n', '1 undefined')

    # operators 14.58
    def test_another_session_time_is_another_session(self):
        self.file('child.dig', '+a:\n  echo>: at ${session_time}\n')
        self.prints('+a:\n  require>: child\n  session_time: 2025-12-31T12:00:00+09:00\n+b:\n  require>: child\n',
                    'at 2025-12-31T03:00:00+00:00', 'at 2026-01-02T00:00:00+00:00')


class GeneratedTasks(OperatorTest):
    # operators 14.65
    def test_a_limit_runs_one_chunk_after_the_other(self):
        """Of each pair both run at once; the second is long, yet nothing of the next pair begins before it ends."""
        script = ('echo start >> log; touch here$i; [ $i = 4 ] || while [ ! -e here$((i ^ 1)) ]; do sleep 0.01; done; '
                  '[ $((i % 2)) = 0 ] || sleep 0.3; echo end >> log')
        self.prints('+a:\n  loop>: 5\n  _parallel: {limit: 2}\n  _do:\n    sh>: ' + json.dumps(script) + '\n')
        self.assertEqual(self.lines('log'), ['start', 'start', 'end', 'end'] * 2 + ['start', 'end'])

    # operators 14.67
    def test_a_template_may_say_parallel(self):
        script = 'touch here$i; while [ ! -e here$((i ^ 1)) ]; do sleep 0.01; done'
        self.prints('_export: {flag: "true"}\n+a:\n  loop>: 2\n  _parallel: ${flag}\n  _do:\n    sh>: ' + json.dumps(script) + '\n')

    # operators 14.60, 14.68
    def test_a_loop_numbers_its_tasks(self):
        done = self.prints('+a:\n  loop>: 3\n  _do:\n    _export: {i: 9, j: 1}\n    echo>: ${typeof i} ${i + j}\n',
                           'number 1', 'number 2', 'number 3')
        self.assertEqual(self.tasks(done), ['+w+a'] + [f'+w+a^sub+loop-{i}' for i in range(3)])

    # operators 14.62, 14.63, 14.75, 14.85
    def test_a_set_limit_of_tasks_holds_for_each_generator(self):
        values = '[' + ', '.join(str(i) for i in range(40)) + ']'
        for task, message in [('loop>: 1001', 'Too many loop subtasks. Limit: 1000'),
                              ('for_each>: {a: ' + values + ', b: ' + values + '}', 'Too many for_each subtasks. Limit: 1000'),
                              ('for_range>: {from: 0, to: 2000, step: 1}', 'Too many for_range subtasks (2000). Limit: 1000')]:
            with self.subTest(task[:10]):
                done = self.run_workflow('+a:\n  ' + task + '\n  _do:\n    echo>: x\n', '-X', 'executor.task_max_run=1000')
                self.assert_error(done, message)
        self.prints('_export: {count: 5}\n+a:\n  loop>: 2\n  _do:\n    echo>: again\n', *['again'] * 5)

    # operators 14.69, 14.73, 14.77
    def test_values_keep_their_types(self):
        done = self.prints('+a:\n  for_each>: {v: [{name: x, list: [1, 2]}], w: [1, 2]}\n  _do:\n'
                           '    echo>: ${v.name} ${v.list.length + w}\n'
                           '+b:\n  for_range>: {from: 10, to: 20, step: 5}\n  _do:\n    echo>: ${range.to - range.from + range.index}\n',
                           'x 3', 'x 4', '5', '6')
        self.assertIn('+w+b^sub+range-from=15&to=20', self.tasks(done))

    # operators 14.86, 14.89, 14.90
    def test_if_runs_one_branch_and_leaves_the_other_alone(self):
        done = self.prints('+a:\n  if>: ${1 < 2}\n  _do:\n    echo>: yes it is\n  _else_do:\n    echo>: ${nope}\n'
                           '+b:\n  if>: ${1 > 2}\n  _do:\n    +x:\n      echo>: ${nope.nope}\n  _else_do:\n'
                           '    +y:\n      echo>: it is not\n'
                           '+c:\n  if>: false\n  _do:\n    echo>: never\n', 'yes it is', 'it is not')
        self.assertEqual(self.tasks(done), ['+w+a', '+w+a^sub', '+w+b', '+w+b^sub+y', '+w+c'])

    def test_a_wait_lasts_as_long_as_it_says(self):
        self.prints('+a:\n  sh>: date +%s%N > begin\n+b:\n  wait>: 1s\n+c:\n  sh>: date +%s%N > end\n+d:\n  wait>: 0s\n')
        self.assertGreaterEqual(int(self.lines('end')[0]) - int(self.lines('begin')[0]), 1_000_000_000)


class Scripts(OperatorTest):
    # operators 14.100
    def test_both_streams_of_a_script_stand_in_the_task_log_as_they_came(self):
        done = self.prints('+a:\n  sh>: echo one; echo two >&2; echo three; echo four >&2\n', 'one', 'two', 'three', 'four',
                           words=['-O', 'logs'])
        self.assertIn('\none\ntwo\nthree\nfour\n', done.out)
        found, = glob.glob(os.path.join(self.project, 'logs', '*', '*', '+w+a@*.log.gz'))
        with gzip.open(found, 'rt', encoding='utf-8') as log:
            self.assertIn('\none\ntwo\nthree\nfour\n', log.read())

    # operators 14.103
    def test_a_secret_reference_is_one_only_in_the_script(self):
        text = '_export: {e: "${secret:k}"}\n+a:\n  sh>: printf %s "${secret:k}" > script; printf %s "$e" > exported\n'
        self.prints(text, words=['-X', 'secrets.k=swordfish'])
        for name, content in [('script', 'swordfish'), ('exported', '${secret:k}')]:
            self.assertEqual(self.content(name), content)

    # operators 14.105
    def test_a_program_of_the_project_needs_its_path(self):
        self.file('mytool', '#!/bin/sh\necho tool\n', 0o755)
        self.prints('+a:\n  sh>: ./mytool\n', 'tool')
        self.assert_error(self.run_workflow('+b:\n  sh>: mytool\n'), 'Command failed with code 127')

    # operators 14.110
    def test_python_stores_for_later_tasks_and_exports_for_its_subtasks(self):
        self.module('import digdag\n'
                    'def f():\n'
                    '  digdag.env.store({"s": 1}, t=2)\n'
                    '  digdag.env.export({"e": 3}, x=4)\n'
                    '  digdag.env.set_state({"u": 5}, v=6)\n'
                    '  digdag.env.add_subtask({"echo>": "inside ${s} ${t} ${e} ${x}"})\n')
        self.prints('+a:\n  py>: t.f\n+b:\n  echo>: after ${s} ${t} ${typeof e} ${typeof x}\n',
                    'inside 1 2 3 4', 'after 1 2 undefined undefined')

    # operators 14.111, 14.112
    def test_python_generates_tasks_of_functions_and_of_any_operator(self):
        self.module('import digdag\n'
                    'def g(a):\n'
                    '  print("a is", a)\n'
                    'def f():\n'
                    '  digdag.env.add_subtask(g, a=1)\n'
                    '  digdag.env.add_subtask({"loop>": 2, "_do": {"echo>": "round ${i}"}})\n')
        done = self.prints('+a:\n  py>: t.f\n', 'a is 1', 'round 0', 'round 1')
        self.assertEqual(self.tasks(done), ['+w+a', '+w+a^sub+subtask0', '+w+a^sub+subtask1', '+w+a^sub+subtask1^sub+loop-0',
                                            '+w+a^sub+subtask1^sub+loop-1'])

    # operators 14.120
    def test_stored_objects_are_merged(self):
        self.module('import digdag\n'
                    'def f(n):\n'
                    '  digdag.env.store(o={"n%s" % n: n, "deep": {"last": n, "d%s" % n: [n]}})\n'
                    'def g():\n'
                    '  digdag.env.export(o={"deep": {"last": "exported"}})\n'
                    '  digdag.env.add_subtask({"echo>": "${JSON.stringify(o)}"})\n')
        self.prints('+a:\n  py>: t.f\n  n: 1\n+b:\n  py>: t.f\n  n: 2\n+c:\n  echo>: ${JSON.stringify(o)}\n+d:\n  py>: t.g\n',
                    '{"n1":1,"deep":{"last":2,"d1":[1],"d2":[2]},"n2":2}', '{"n1":1,"deep":{"last":"exported","d1":[1],"d2":[2]},"n2":2}')

    # operators 14.114
    def test_the_summary_shows_an_exception_once_and_indented(self):
        self.file('t.py', 'def f():\n  raise ValueError("no rows")\n')
        done = self.run_workflow('+a:\n  py>: t.f\n')
        self.assertIn('  * +w+a:\n'
                      '    Python command failed with code 1\n'
                      '    Error messages from python: no rows (ValueError)\n'
                      '      Traceback (most recent call last):\n'
                      f'        File "{os.path.realpath(self.project)}/t.py", line 2, in f\n'
                      '          raise ValueError("no rows")\n'
                      '      ValueError: no rows (runtime)\n', done.err)
        self.assertEqual(done.err.count('Traceback'), 1)


class Server(OperatorTest):
    def setUp(self):
        super().setUp()
        test = self
        self.requests = []
        self.answers = {}  # path: (status, content type, body)

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                test.requests.append((self.path, dict(self.headers)))
                status, content_type, body = test.answers.get(self.path, (404, 'text/plain', 'none such'))
                self.send_response(status)
                self.send_header('Content-Type', content_type)
                self.send_header('Content-Length', str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.url = f'http://127.0.0.1:{server.server_port}'

    # operators 14.40, 14.41
    def test_a_fetched_workflow_runs_below_sub(self):
        self.answers['/json'] = 200, 'application/json', '{"+x": {"echo>": "of JSON ${p}"}}'
        self.answers['/yaml'] = 200, 'application/x-yaml', '_export: {q: 2}\n+y:\n  echo>: of YAML ${q}\n'
        done = self.prints(f'_export: {{p: 1}}\n+a:\n  http_call>: {self.url}/json\n+b:\n  http_call>: {self.url}/yaml\n',
                           'of JSON 1', 'of YAML 2')
        self.assertIn('+w+a^sub+x', self.tasks(done))
        self.assertIn('+w+b^sub+y', self.tasks(done))

    # operators 14.125
    def test_the_last_content_stays_until_the_next_that_is_stored(self):
        self.answers['/one'] = 200, 'text/plain', 'first'
        self.answers['/two'] = 202, 'text/plain', 'second'
        show = '    echo>: ${http.last_status} ${http.last_content}\n'
        self.prints(f'+a:\n  +get:\n    http>: {self.url}/one\n    store_content: true\n  +show:\n{show}'
                    f'+b:\n  +get:\n    http>: {self.url}/two\n  +show:\n{show}'
                    f'+c:\n  +get:\n    http>: {self.url}/two\n    store_content: true\n  +show:\n{show}',
                    '200 first', '202 first', '202 second')

    # operators 14.135
    def test_the_environment_names_a_proxy(self):
        self.answers['http://nowhere.invalid/x'] = 200, 'text/plain', 'by the proxy'
        for name in ['http_proxy', 'HTTP_PROXY']:
            self.prints('+a:\n  http>: http://nowhere.invalid/x\n  store_content: true\n+b:\n  echo>: ${http.last_content}\n',
                        'by the proxy', **{name: self.url})

    # operators 14.19, with http> in the place of pg>
    def test_secrets_are_looked_up_where_the_task_says(self):
        self.answers['/'] = 200, 'text/plain', ''
        self.prints(f'+a:\n  http>: {self.url}/\n  _secrets: {{http: my.web}}\n', words=['-X', 'secrets.my.web.authorization=Bearer mine',
                                                                                        '-X', 'secrets.http.authorization=Bearer other'])
        self.assertEqual(self.requests[0][1]['Authorization'], 'Bearer mine')


class Notification(OperatorTest):
    # operators 14.198
    def test_a_failed_run_notifies_once(self):
        words = ['-X', 'notification.type=shell', '-X', 'notification.shell.command=cat >> got; echo >> got']
        self.prints('+a:\n  echo>: fine\n', words=words)
        self.assertFalse(self.exists('got'))
        self.assert_error(self.run_workflow('_parallel: true\n+a:\n  fail>: boom\n+b:\n  fail>: too\n', *words), 'boom', 'too')
        got, = self.lines('got')
        notification = json.loads(got)
        self.assertEqual(notification['message'], 'Workflow session attempt failed')
        self.assertEqual((notification['workflow_name'], notification['task_name']), ('w', '+w^failure-alert'))


if __name__ == '__main__':
    unittest.main()
