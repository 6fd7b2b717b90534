#!/usr/bin/env python3
"""Bad input of every kind: an error names cause, place and remedy, the exit code is not 0, nothing is half done."""
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from program import BINARY, ProgramTest, SESSION  # noqa: E402


class BadInput(ProgramTest):
    def test_broken_yaml_is_shown_with_its_place(self):
        done = self.run_workflow('+a:\n  echo>: [1\n')
        self.assert_error(done, 'w.dig:')
        self.assertEqual(self.state_files(), [])

    def test_a_tab_is_named_with_line_column_and_caret(self):
        done = self.run_workflow('+a:\n\techo>: 1\n')
        self.assert_error(done, 'w.dig:2:1', '^', 'hint:')

    def test_an_unknown_key_of_a_group_comes_with_a_suggestion(self):
        done = self.run_workflow('+g:\n  _retires: 3\n  +a:\n    echo>: 1\n')
        self.assert_error(done, 'w.dig:2:3', "'_retires'", '_retry', '    2 |')

    def test_all_errors_of_a_file_are_reported(self):
        done = self.run_workflow('+g:\n  foo: 1\n  +a:\n    echo>: 1\n+h:\n  bar: 2\n  +b:\n    echo>: 1\n')
        self.assert_error(done, 'w.dig:2:3', 'w.dig:6:3')

    # cli 11.59
    def test_an_unknown_operator_names_task_and_place(self):
        done = self.run_workflow('+a:\n  ech>: 1\n')
        self.assertTrue(done.log('Configuration error at task +w+a: Unknown task type: ech (config)'), done.out)
        self.assert_error(done, '  * +w+a:', 'Unknown task type: ech', 'w.dig:')
        self.assertEqual(self.state_files(), [])

    def test_an_unknown_operator_is_shown_where_it_stands_with_those_that_there_are(self):
        done = self.run_workflow('+a:\n  _retry: 1\n  ech>: 1\n')
        self.assert_error(done, 'at w.dig:3:3', 'hint: did you mean echo?')
        done = self.run_workflow('+a:\n  shell>: hi\n')
        self.assert_error(done, 'at w.dig:2:3', 'hint: the operators are call>, echo>, ')

    def test_a_retry_without_limit_is_shown_where_it_stands(self):
        done = self.run_workflow('+a:\n  sh>: exit 1\n  _retry: {limt: 1}\n')
        self.assert_error(done, "Parameter 'limit' is required but not set", 'at w.dig:3:3', "hint: _retry ", "'limt': did you mean 'limit'?")
        done = self.run_workflow('+a:\n  sh>: exit 1\n  _retry: {}\n')
        self.assert_error(done, 'at w.dig:3:3', 'hint: _retry as an object needs the number of retries: _retry: {limit: 3}')

    def test_an_operator_without_its_value_is_shown_where_it_stands(self):
        done = self.run_workflow('+a:\n  _export: {}\n  for_each>:\n  x: [1]\n  _do: {echo>: 1}\n')
        self.assert_error(done, "Parameter '_command' is required but not set", 'at w.dig:3:3',
                          "hint: '_command' is the value of for_each>:, after which nothing stands", 'indented deeper')

    def test_a_condition_outside_of_braces_is_told_how_to_be_written(self):
        for condition in ('a == b', '${1} == ${2}'):
            done = self.run_workflow('+a:\n  if>: ' + condition + '\n  _do: {echo>: 1}\n')
            self.assert_error(done, "Expected 'true' or 'false' for key '_command'", 'at w.dig:2:3',
                              "hint: a condition stands whole inside of ${…}, as in `if>: ${a == b}`; '_command' is the value of if>:")

    def test_a_missing_blank_after_a_colon_is_told(self):
        done = self.run_workflow('+a:\n  sh>:echo hi\n')
        self.assert_error(done, "w.dig:1:1: Parameter '+a' must be an object or array of objects", 'hint: a blank is missing after `sh>:`')
        for no_key in ('x', 'echo hi:1', 'sh>: hi', 'sh>', ''):
            self.assertNotIn('hint: a blank', self.run_workflow(f"+a: '{no_key}'\n").err)

    def test_a_wrong_type_names_the_parameter(self):
        done = self.run_workflow('+a:\n  loop>: many\n  _do:\n    echo>: 1\n')
        self.assert_error(done, '+w+a', 'many', 'w.dig:')

    def test_a_missing_workflow_is_an_error_with_a_suggestion(self):
        self.file('daily.dig', '+a:\n  echo>: 1\n')
        done = self.digdag('run', 'dayly.dig', *SESSION)
        self.assert_error(done, "'dayly'", 'daily')

    def test_a_workflow_that_is_no_file_is_told_from_one_that_is_missing(self):
        os.mkfifo(os.path.join(self.project, 'pipe.dig'))
        os.symlink('nowhere', os.path.join(self.project, 'link.dig'))
        for name in ('pipe', 'link'):
            self.assert_error(self.digdag('run', name, *SESSION), f"Workflow '{name}' does not exist", f'hint: {name}.dig is there, but is no regular file')

    def test_a_missing_include_is_named(self):
        done = self.run_workflow("!include : 'nope.dig'\n")
        self.assert_error(done, 'nope.dig', 'w.dig:1')

    def test_an_include_cycle_is_shown_as_a_chain(self):
        self.file('b.dig', "!include : 'w.dig'\n")
        done = self.run_workflow("!include : 'b.dig'\n")
        self.assert_error(done, 'include cycle', '->')

    def test_an_alias_bomb_ends_with_an_error(self):
        text = '_export:\n  a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n'
        for i in range(1, 12):
            text += f'  a{i}: &a{i} [' + ', '.join([f'*a{i - 1}'] * 10) + ']\n'
        done = self.run_workflow(text + '+a:\n  echo>: 1\n')
        self.assert_error(done, 'too large after alias expansion')

    def test_an_include_bomb_ends_with_an_error(self):
        for i in range(12):
            self.file(f'i{i}.yml', ''.join(f"k{j}:\n  !include : 'i{i + 1}.yml'\n" for j in range(10)))
        self.file('i12.yml', 'x: 1\n')
        done = self.run_workflow("_export:\n  !include : 'i0.yml'\n+a:\n  echo>: 1\n")
        self.assert_error(done, 'YAML document too large', 'more than 1000000 values')

    def test_an_include_outside_of_the_project_is_refused(self):
        done = self.run_workflow("!include : '../../../../../../etc/passwd'\n")
        self.assert_error(done, 'must not include ..')

    def test_an_endless_expression_ends_at_the_time_limit(self):
        done = self.run_workflow('+a:\n  echo>: "${(function(){ while (true) {} })()}"\n', '-X', 'eval.timeout=1s')
        self.assert_error(done, '+w+a', 'took longer than 1s')
        self.assertEqual(self.state_files(), [])

    def test_a_time_limit_beyond_the_clock_is_none(self):
        for limit in ('9223372037s', '9223372036854775807s', '99999999999999d'):
            done = self.run_workflow('+a:\n  echo>: "${[1, 2].map(function (x) { return x + 1 }).join()}"\n', '--no-save', '-X', f'eval.timeout={limit}')
            self.assertEqual((done.code, '\n2,3\n' in done.out), (0, True), done.err)

    def test_a_greedy_expression_ends_at_the_memory_limit(self):
        done = self.run_workflow('+a:\n  echo>: "${(function(){ var s = \'x\'; while (true) s += s; })()}"\n')
        self.assert_error(done, '+w+a', 'evaluation needs more than 64 MiB')

    def test_a_memory_limit_that_nothing_fits_in_is_refused(self):
        for limit in ('0', '-1', '9223372036854775807'):
            done = self.run_workflow('+a:\n  echo>: ${1 + 1}\n', '-X', f'eval.memory={limit}')
            self.assert_error(done, f'eval.memory must be bytes from 1048576 (1 MiB) to 1099511627776 (1 TiB): {limit}')

    def test_a_missing_variable_names_the_expression(self):
        done = self.run_workflow('+a:\n  echo>: ${nope}\n')
        self.assert_error(done, '+w+a', '${nope}', 'ReferenceError: nope is not defined', 'w.dig:2')

    def test_newer_javascript_is_said_to_be_newer(self):
        done = self.run_workflow('+a:\n  echo>: ${[1].map(x => x)}\n')
        self.assert_error(done, 'ES5.1')

    def test_a_failed_command_shows_code_place_and_last_output(self):
        done = self.run_workflow('+a:\n  sh>: echo about to fail; exit 3\n')
        self.assert_error(done, '  * +w+a:', 'Command failed with code 3 (runtime)', 'w.dig:', 'last output:', 'about to fail', 'goes on from here')
        self.assertEqual(self.state_files(), [])

    def test_a_command_that_fails_in_a_loop_is_shown_where_it_stands(self):
        for operator in ('for_each>: {x: [1]}', 'loop>: 1', 'for_range>: {from: 0, to: 1, step: 1}', 'if>: true'):
            with self.subTest(operator):
                done = self.run_workflow(f'+a:\n  {operator}\n  _do:\n    _export: {{y: 1}}\n    sh>: exit 3\n')
                self.assert_error(done, 'at w.dig:5:5,')
                done = self.run_workflow(f'+a:\n  {operator}\n  _do:\n    _export: {{y: 1}}\n    +b:\n      sh>: exit 3\n')
                self.assert_error(done, 'at w.dig:5:5,')

    def test_nothing_of_a_failed_task_is_obeyed_by_the_terminal(self):
        done = self.run_workflow('+a:\n  _parallel: true\n  +b:\n    "ech\\e[2J>": 1\n  +c:\n    fail>: "one\\n\\ttwo \\u202e\\e[31m"\n', '-p', 'x=\x1b[1m')
        self.assert_error(done, r'Unknown task type: ech\u001b[2J', 'one\n    \ttwo ' + r'\u202e\u001b[31m', r"-p 'x=\u001b[1m'")
        self.assertTrue(done.log(r'ech\u001b[2J>: 1'), done.out)
        self.assertTrue(done.log('fail>: one'), done.out)
        self.assertIn(r'two \u202e\u001b[31m', done.out)
        self.assertNotRegex(done.out + done.err, '[\x1b\u202e]')

    def test_the_output_of_a_command_passes_as_it_is(self):
        done = self.run_workflow("+a:\n  sh>: printf '\\033[1mbold\\033[0m\\n'; exit 1\n")
        self.assertIn('\n\x1b[1mbold\x1b[0m\n', done.out)
        self.assert_error(done, 'last output:\n        \x1b[1mbold\x1b[0m\n')

    def test_a_command_ended_by_a_signal_names_the_signal(self):
        done = self.run_workflow('+a:\n  sh>: python3 -c "import os; os.kill(os.getppid(), 9)"\n')
        self.assert_error(done, '+w+a', 'signal 9')

    def test_a_shell_that_does_not_exist_is_named(self):
        done = self.run_workflow('+a:\n  sh>: echo 1\n  shell: [/nowhere/shell]\n')
        self.assert_error(done, '+w+a', '/nowhere/shell')

    def test_a_working_directory_that_does_not_exist_is_named(self):
        done = self.run_workflow('+a:\n  sh>: echo 1\n  _workdir: nowhere\n')
        self.assert_error(done, '+w+a', 'nowhere')

    def test_a_secret_is_not_shown_by_a_failure(self):
        done = self.run_workflow('+a:\n  sh>: echo ${secret:db.password}; exit 1\n', '-X', 'secrets.db.password=swordfish-7')
        self.assertNotIn('swordfish-7', done.out + done.err)
        self.assert_error(done, '***')

    def test_a_missing_project_directory_is_named(self):
        self.assert_error(self.digdag('run', 'w.dig', '--project', 'nowhere'), 'nowhere')

    def test_a_project_that_is_a_file_is_refused(self):
        self.file('plain', 'x')
        self.assert_error(self.digdag('run', 'w.dig', '--project', 'plain'), 'plain')

    def test_a_required_parameter_is_asked_for(self):
        text = '_params:\n  date: {type: string, required: true}\n+a:\n  echo>: ${date}\n'
        self.assert_error(self.run_workflow(text), "'date'", '-p date=VALUE')
        self.assertEqual(self.run_workflow(text, '-p', 'date=today').code, 0)

    def test_a_misspelt_parameter_is_told(self):
        done = self.run_workflow('_params: {region: {default: eu}}\n+a:\n  echo>: ${region}\n', '-p', 'regoin=us')
        self.assertEqual(done.code, 0)
        self.assertTrue(done.log("[WARN] (main) cli: Parameter 'regoin' is given but not declared; did you mean 'region'?"), done.out)

    def test_an_unknown_time_zone_is_named(self):
        self.assert_error(self.run_workflow('timezone: Mars/Phobos\n+a:\n  echo>: 1\n'), 'Mars/Phobos', 'w.dig:1')

    def test_default_parameters_that_are_no_object_are_named_but_not_shown(self):
        for text in ('{"password": swordfish-7', '["swordfish-7"]', '7'):
            for words in (('run', 'w.dig', *SESSION), ('server', '-m', '-n', '0')):
                self.file('w.dig', '+a:\n  echo>: 1\n')
                done = self.digdag(*words, '-X', f'digdag.defaultParams={text}')
                self.assert_error(done, "'digdag.defaultParams' must be a JSON object", 'hint: write {"name": "value"}')
                self.assertNotIn('swordfish', done.out + done.err)

    def test_a_wrong_system_key_is_an_error(self):
        self.assert_error(self.run_workflow('+a:\n  echo>: 1\n', '-X', 'executor.task_max_run=many'), 'executor.task_max_run', 'many')

    def test_too_many_tasks_are_refused_with_the_numbers(self):
        done = self.run_workflow('+a:\n  loop>: 70\n  _do:\n    echo>: 1\n', '-X', 'executor.task_max_run=60')
        self.assert_error(done, 'Too many loop subtasks. Limit: 60')

    def test_a_current_directory_that_is_gone_is_told(self):
        gone = os.path.join(self.project, 'gone')
        os.mkdir(gone)
        done = subprocess.run(['sh', '-c', 'cd gone && rmdir ../gone && exec "$@"', 'sh', BINARY, 'run', 'w.dig'], cwd=self.project,
                              env=self.environment, stderr=subprocess.PIPE, text=True, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn('error: the current directory cannot be used: No such file or directory', done.stderr)

    def test_a_missing_secret_is_told_with_the_place_where_it_belongs(self):
        done = self.run_workflow('+a:\n  sh>: echo ${secret:db.password}\n')
        self.assert_error(done, "Secret not found for key: 'db.password'", f'hint: a local secret is a file named by its key in {self.home}/digdag/secrets')

    def test_a_wrong_schedule_is_told_with_its_line(self):
        self.assert_error(self.run_workflow('schedule:\n  daily>: seven\n+a:\n  echo>: 1\n'), 'w.dig:2:3', '  2 |   daily>: seven')

    def test_an_unknown_kind_of_schedule_is_shown_where_it_stands_with_a_suggestion(self):
        self.assert_error(self.run_workflow('schedule:\n  skip_on_overtime: true\n  daly>: 07:00:00\n+a:\n  echo>: 1\n'), 'w.dig:3:3: Unknown scheduler type: daly',
                          "hint: did you mean 'daily>'?")
        self.assert_error(self.run_workflow('schedule:\n  x>: 07:00:00\n+a:\n  echo>: 1\n'), 'w.dig:2:3', 'hint: known ones: hourly>, daily>')

    def test_a_second_run_of_the_same_session_is_refused_while_the_first_goes_on(self):
        self.file('w.dig', '+a:\n  sh>: touch started; while [ ! -e go ]; do sleep 0.05; done\n')
        first = self.start('run', 'w.dig', *SESSION)
        self.wait_for('the first run', lambda: self.exists('started'))
        done = self.digdag('run', 'w.dig', *SESSION)
        self.assert_error(done, f'is being run by pid {first.pid}')
        other_session = self.run_workflow('+a:\n  echo>: other\n', '--session', '2026-01-03')
        self.assertEqual(other_session.code, 0)
        self.file('go', '')
        self.assertEqual(first.wait(30), 0)

    def test_a_full_disk_under_the_state_files_is_said_and_the_tasks_go_on(self):
        full = os.path.join(self.project, 'full')
        os.mkdir(full)
        mounted = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=16k', 'tmpfs', full], stderr=subprocess.DEVNULL, check=False)
        if mounted.returncode != 0:
            self.skipTest('needs the right to mount a file system')
        self.addCleanup(subprocess.run, ['umount', full], check=False)
        text = ''.join(f'+t{i}:\n  echo>: task {i}\n' for i in range(20))
        done = self.run_workflow(text, '-o', 'full')
        self.assertIn('task 19', done.out)
        self.assert_error(done, 'could not be saved', 'No space left on device')
        saved = os.path.join(full, '20260102T000000+0000')
        for name in os.listdir(saved):
            if name.endswith('.yml'):
                self.assertIn('outputs: []', self.content(os.path.join(saved, name)), f'{name} is not whole')

    def test_output_that_cannot_be_written_is_not_success(self):
        self.file('w.dig', '+a:\n  echo>: lost\n')
        with open('/dev/full', 'w', encoding='utf-8') as full:
            done = subprocess.run([BINARY, 'run', 'w.dig', *SESSION], cwd=self.project, env=self.environment, stdout=full,
                                  stderr=subprocess.PIPE, timeout=60, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn('error: cannot write to standard output: No space left on device', done.stderr.decode())

    def test_what_other_commands_print_must_arrive_too(self):
        self.file('w.dig', '+a:\n  echo>: lost\n')
        for words in (['check'], ['check', '--json'], ['eval', '${1 + 1}'], ['--version']):
            with self.subTest(words=words), open('/dev/full', 'w', encoding='utf-8') as full:
                done = subprocess.run([BINARY, *words], cwd=self.project, env=self.environment, stdout=full, stderr=subprocess.PIPE,
                                      timeout=60, check=False)
                self.assertEqual(done.returncode, 1)
                self.assertIn('error: cannot write to standard output: No space left on device', done.stderr.decode())

    def test_a_reader_that_goes_away_is_no_error(self):
        for words in (['check'], ['check', '--json'], ['eval', '${1 + 1}']):
            with self.subTest(words=words):
                reader, writer = os.pipe()
                os.close(reader)
                with os.fdopen(writer, 'w', encoding='utf-8') as gone:
                    done = subprocess.run([BINARY, *words], cwd=self.project, env=self.environment, stdout=gone, stderr=subprocess.PIPE,
                                          timeout=60, check=False)
                self.assertEqual(done.returncode, 0)
                self.assertNotIn('error', done.stderr.decode())

    def test_streams_that_the_caller_closed_are_nobody_elses(self):
        self.file('w.dig', '+a:\n  echo>: hello\n')
        run = f'{BINARY} run w.dig --session 2026-01-02'
        for closed in ('2>&-', '>&-', '<&-', '<&- >&- 2>&-'):
            done = subprocess.run(['sh', '-c', f'{run} -a {closed}'], cwd=self.project, env=self.environment, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL, timeout=60, check=False)
            self.assertEqual(done.returncode, 0, closed)
        self.assertRegex(self.content('.digdag/status/20260102T000000+0000/.lock+w'), r'^\d*\n?$')

    def test_a_configuration_out_of_reach_is_as_good_as_none(self):
        self.file('w.dig', '+a:\n  echo>: hello\n')
        os.makedirs(os.path.join(self.home, 'digdag/config'))  # what is no file cannot be read
        self.assert_error(self.digdag('check'), 'digdag/config')
        os.rmdir(os.path.join(self.home, 'digdag/config'))
        os.rmdir(os.path.join(self.home, 'digdag'))
        with open(os.path.join(self.home, 'digdag'), 'w', encoding='utf-8'):
            pass
        self.assertEqual(self.digdag('check').code, 0)

    def test_a_trigger_is_said_to_work_only_on_a_server(self):
        done = self.run_workflow('trigger:\n  attempt>:\n  dependent_workflow_name: x\n+a:\n  echo>: 1\n')
        self.assertEqual(done.code, 0, done.err)
        self.assertTrue(done.log('only on a server'))

    # cli 11.58: only where it is needed (decisions C-12)
    def test_a_broken_neighbour_is_only_a_warning(self):
        self.file('other.dig', 'a: [\n')
        done = self.run_workflow('+a:\n  echo>: fine\n')
        self.assertEqual(done.code, 0, done.err)
        self.assertTrue(done.log('other.dig:2:1'))
        done = self.digdag('run', 'other.dig', *SESSION)
        self.assertEqual(done.out, '')
        self.assert_error(done, 'error: other.dig:2:1: ')


if __name__ == '__main__':
    unittest.main()
