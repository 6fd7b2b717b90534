#!/usr/bin/env python3
"""`digdag run`: which workflow, which session, what is printed and what is kept (spec/cli.md 6.2)."""
import datetime
import os
import re
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from program import ProgramTest, SESSION  # noqa: E402

THREE = '+a:\n  echo>: A\n+b:\n  sh>: echo B\n+c:\n  echo>: C\n'
HINTS = ('  * Use --session <daily | hourly | "yyyy-MM-dd[ HH:mm:ss]"> to not reuse the last session time.\n'
         '  * Use --rerun, --start +NAME, or --goal +NAME argument to rerun skipped tasks.\n')
LOG_LINE = re.compile(r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4} \[(INFO|WARN|ERROR)\] \([^)]*\) \S+: ')


class Run(ProgramTest):
    def saved_at(self, session='20260102T000000+0000', folder='.digdag/status'):
        return f'Task state is saved at {os.path.realpath(self.project)}/{folder}/{session} directory.\n{HINTS}'

    def printed(self, done):
        """What tasks printed: the lines that are no log lines."""
        return [line for line in done.out.split('\n') if line and not LOG_LINE.match(line)]

    def skipped(self, done):
        return re.findall(r'(?m)^\S+ \S+ \S+ \[WARN\] \([^)]*\](\+[^)]*)\) \S+: Skipped$', done.out)

    # cli 11.32
    def test_success_ends_with_where_its_state_is(self):
        done = self.run_workflow(THREE)
        self.assertEqual((done.code, self.printed(done)), (0, ['A', 'B', 'C']))
        self.assertTrue(done.err.endswith('\nSuccess. ' + self.saved_at()), done.err)

    # cli 11.33
    def test_a_workflow_is_named_with_or_without_its_ending(self):
        self.file('w.dig', THREE)
        for name in ('w', 'w.dig'):
            done = self.digdag('run', name, '--no-save', *SESSION)
            self.assertEqual((done.code, done.ran()), (0, ['+w+a', '+w+b', '+w+c']))

    # cli 11.34, execution 32.95
    def test_failure_names_each_failed_task_with_its_cause(self):
        done = self.run_workflow('+a:\n  echo>: A\n+b:\n  sh>: exit 3\n+c:\n  echo>: C\n')
        self.assertEqual((done.code, self.printed(done)), (1, ['A']))
        self.assertIn('\nerror: \n  * +w+b:\n    Command failed with code 3 (runtime)\n', done.err)
        self.assertTrue(done.err.endswith('\n\n' + self.saved_at()), done.err)

    # decisions E-33
    def test_a_time_limit_ends_the_task_and_says_so(self):
        done = self.run_workflow('_export: {limit: 3s}\n+a:\n  sh>: echo begun; tail -f /dev/null\n  _timeout: ${limit}\n  _retry: 1\n')
        self.assertEqual((done.code, self.printed(done)), (1, ['begun', '> Task timed out after 3s (task timeout)', 'begun',
                                                              'Task timed out after 3s (task timeout)']))
        self.assertIn('[ERROR] (main) executor: Task +w+a failed at w.dig:2:1, retrying\n> Task timed out after 3s', done.out)
        self.assertIn('[ERROR] (main) executor: Task +w+a failed at w.dig:2:1.\nTask timed out after 3s', done.out)
        self.assertRegex(done.err, r'  \* \+w\+a:\n    Task timed out after 3s \(task timeout\)\n      at w.dig:2:1, after \d+\.\d s\n')

    # decisions E-33
    def test_a_time_limit_that_cannot_be_read_fails_the_task(self):
        done = self.run_workflow('+a:\n  echo>: A\n  _timeout: abc\n')
        self.assertEqual((done.code, done.out.count('echo>')), (1, 0))
        self.assertIn('\nerror: \n  * +w+a:\n    Invalid _timeout: "abc" (config)\n      at w.dig:3:3\n'
                      '      hint: write seconds, or a duration like `30m` or `1h 30m`\n', done.err)

    # decisions L-16
    def test_a_retry_that_cannot_be_evaluated_says_why(self):
        done = self.run_workflow('+g:\n  _retry: ${boom.x}\n  +a: {fail>: no}\n')
        self.assertIn('[WARN] (main) executor: task +w+g at w.dig:1:1: Ignore retry parameter because of invalid retry configuration. '
                      'Failed to evaluate a variable ${boom.x} (ReferenceError: ', done.out)

    # cli 11.35, 11.36
    def test_log_lines_stand_on_standard_output_with_time_level_thread_and_component(self):
        done = self.run_workflow('+one:\n  echo>: hi\n  colour: red\n')
        lines = done.out.rstrip('\n').split('\n')
        self.assertEqual({LOG_LINE.match(line).group(1) for line in lines if line != 'hi'}, {'INFO', 'ERROR'})
        thread = re.search(r'\(([^)]*)\) \S+: echo>: hi$', done.log('echo>')[0]).group(1)
        self.assertRegex(thread, r'^\d{4}@\[0:default:1:1\]\+w\+one$')
        self.assertIsNone(re.search(r'(?m)' + LOG_LINE.pattern, done.err))

    # cli 11.37
    def test_what_a_shell_writes_to_standard_error_stands_on_standard_output(self):
        done = self.run_workflow('+a:\n  sh>: echo out; echo err >&2\n')
        self.assertEqual(self.printed(done), ['out', 'err'])
        self.assertNotIn('err\n', done.err)

    # cli 11.38, execution 32.90
    def test_a_second_run_reuses_the_session_and_skips_every_finished_task(self):
        self.run_workflow('+g:\n  +a:\n    echo>: A\n  +b:\n    sh>: echo B\n')
        done = self.digdag('run', 'w.dig')
        self.assertEqual((done.code, done.ran(), self.printed(done)), (0, [], []))
        self.assertTrue(done.log('[WARN] (main) cli: Reusing the last session time 2026-01-02T00:00:00+00:00.'), done.out)
        self.assertEqual(self.skipped(done), ['+w+g+a', '+w+g+b'])

    # cli 11.39
    def test_after_a_repair_the_failed_task_and_those_after_it_run(self):
        self.assertEqual(self.run_workflow('+a:\n  echo>: A\n+b:\n  sh>: test -e ok\n+c:\n  echo>: C\n').code, 1)
        self.file('ok', '')
        done = self.digdag('run', 'w.dig')
        self.assertEqual((done.code, self.skipped(done), done.ran()), (0, ['+w+a'], ['+w+b', '+w+c']))

    # cli 11.40, 11.41, execution 32.91, 32.92, 32.94
    def test_rerun_start_goal_and_end_choose_what_runs(self):
        cases = (
            (['--rerun'], ['a', 'b', 'c'], []), (['-a'], ['a', 'b', 'c'], []), (['--all'], ['a', 'b', 'c'], []),
            (['--start', '+b'], ['b', 'c'], ['a']), (['-s', '+b'], ['b', 'c'], ['a']),
            (['--goal', '+b'], ['b'], ['a', 'c']), (['-g', '+b'], ['b'], ['a', 'c']),
            (['--rerun', '--end', '+c'], ['a', 'b'], ['c']), (['-a', '-e', '+b'], ['a'], ['b', 'c']),
            (['--start', '+b', '--end', '+c'], ['b'], ['a', 'c']),
        )
        self.run_workflow(THREE)
        for words, ran, skipped in cases:
            done = self.digdag('run', 'w.dig', *SESSION, *words)
            self.assertEqual(done.code, 0, done.err)
            self.assertEqual(done.ran(), ['+w+' + task for task in ran], words)
            self.assertEqual(self.skipped(done), ['+w+' + task for task in skipped], words)

    # execution 32.93
    def test_what_the_end_leaves_out_has_no_result_not_even_a_saved_one(self):
        text = '+a:\n  echo>: A\n+b:\n  loop>: 1\n  _do:\n    echo>: B\n+c:\n  echo>: C\n'
        done = self.run_workflow(text, '--end', '+b')
        self.assertEqual((done.code, done.ran(), self.skipped(done)), (0, ['+w+a'], ['+w+b', '+w+c']), done.out)
        self.run_workflow(text)
        done = self.run_workflow(text, '--end', '+b')
        self.assertEqual((done.code, done.ran(), self.skipped(done)), (0, [], ['+w+a', '+w+b', '+w+c']), done.out)

    # execution 32.106
    def test_a_plain_workflow_has_the_given_parameters_and_those_of_its_session(self):
        self.file('t.py', 'import digdag\ndef f():\n    print("has " + " ".join(sorted(set(digdag.env.params) - {"py>", "_type", "_command"})))\n')
        of_session = ('attempt_id last_executed_session_date last_executed_session_date_compact last_executed_session_local_time '
                      'last_executed_session_time last_executed_session_tz_offset last_executed_session_unixtime mine project_id '
                      'session_date session_date_compact session_id session_local_time session_time session_tz_offset session_unixtime '
                      'session_uuid task_name timezone')
        done = self.run_workflow('+a:\n  py>: t.f\n', '-p', 'mine=1')
        self.assertEqual(self.printed(done), ['has ' + of_session])

    # cli 11.42
    def test_a_state_file_is_called_as_its_task_and_holds_its_result(self):
        self.file('t.py', 'import digdag\ndef f():\n    digdag.env.store({"n": [1, {"on": "yes"}]})\n    digdag.env.export({"e": 2})\n')
        self.file('w.dig', 'timezone: Asia/Tokyo\n+one:\n  py>: t.f\n')
        self.assertEqual(self.digdag('run', 'w.dig', '--session', '2026-01-02 03:04:05').code, 0)
        self.assertEqual(self.state_files('20260102T030405+0900'), ['+w', '+w+one'])
        self.assertEqual(self.content('.digdag/status/20260102T030405+0900/+w+one.yml'),
                         'fullName: "+w+one"\nstate: "success"\nresult:\n  subtaskConfig: {}\n  exportParams:\n    e: 2\n'
                         '  resetStoreParams: []\n  storeParams:\n    "n":\n    - 1\n    - "on": "yes"\n  report:\n    inputs: []\n    outputs: []\n')

    # cli 11.43: the reverse is the exact form of the test above
    def test_a_state_file_of_the_original_is_honoured(self):
        self.file('.digdag/status/20260102T000000+0000/+w+a.yml',
                  'fullName: "+w+a"\nstate: "success"\nresult:\n  subtaskConfig: {}\n  exportParams:\n    half: 0.5\n  resetStoreParams: []\n'
                  '  storeParams:\n    "y": "010"\n    list:\n    - 1\n    - "two"\n  report:\n    inputs: []\n    outputs: []\n')
        done = self.run_workflow('+a:\n  fail>: must not run\n+b:\n  echo>: ${y} ${half === undefined} ${JSON.stringify(list)}\n', '-p', 'half=')
        self.assertEqual((done.code, self.skipped(done)), (0, ['+w+a']), done.err)
        self.assertEqual(self.printed(done), ['010 false [1,"two"]'])

    # cli 11.44, execution 32.96
    def test_state_goes_where_it_is_told_to_or_nowhere(self):
        done = self.run_workflow(THREE, '-o', 'st')
        self.assertIn(self.saved_at(folder='st'), done.err)
        self.assertTrue(self.exists('st/20260102T000000+0000/+w+a.yml'))
        done = self.run_workflow(THREE, '--no-save')
        self.assertTrue(done.err.endswith('\nSuccess.\n' + HINTS), done.err)
        self.assertFalse(self.exists('.digdag/status'))
        self.file('sub/s.dig', THREE)
        self.assertEqual(self.digdag('run', 's.dig', '--project', 'sub', '-o', 'st', *SESSION).code, 0)
        self.assertTrue(self.exists('sub/st/20260102T000000+0000/+s+a.yml'))

    def session_of(self, *words):
        done = self.digdag('run', 'w.dig', *words)
        self.assertEqual(done.code, 0, done.err)
        return self.printed(done)[0], done

    # cli 11.45, 11.49
    def test_the_session_time_is_told_in_the_zone_of_the_workflow(self):
        self.file('w.dig', 'timezone: Asia/Tokyo\nschedule:\n  hourly>: 30:00\n+a:\n  echo>: ${session_time}\n')
        for option in ('--session', '-t', '--session-time'):
            self.assertEqual(self.session_of('--no-save', option, '2026-01-02')[0], '2026-01-02T00:00:00+09:00')
            self.assertEqual(self.session_of('--no-save', option, '2026-01-02 03:04:05')[0], '2026-01-02T03:04:05+09:00')
        zone = datetime.timezone(datetime.timedelta(hours=9))
        for word, form in (('hourly', '%Y-%m-%dT%H:00:00+09:00'), ('daily', '%Y-%m-%dT00:00:00+09:00')):
            before = datetime.datetime.now(zone).strftime(form)
            session = self.session_of('--no-save', '--session', word)[0]
            self.assertIn(session, (before, datetime.datetime.now(zone).strftime(form)))
        # The newest session before now, whether its run at minute 30 was due or not (spec/scheduling.md 1).
        hours = [datetime.datetime.now(zone)]
        session = self.session_of('--no-save', '--session', 'schedule')[0]
        hours.append(datetime.datetime.now(zone))
        self.assertIn(session, [time.strftime('%Y-%m-%dT%H:00:00+09:00') for time in hours])
        session, done = self.session_of('--session', 'last')
        self.assertTrue(done.log(f'[WARN] (main) cli: Using a new session time {session} based on schedule.'), done.out)

    # cli 11.46
    def test_a_session_time_in_another_form_is_refused(self):
        self.file('w.dig', THREE)
        for text in ('yesterday', 'now', '2026/01/02', '2026-1-2', '2026-01-02T03:04:05', ''):
            done = self.digdag('run', 'w.dig', '--session', text)
            self.assertEqual((done.code, done.out), (1, ''))
            self.assertIn('\nerror: --session must be hourly, daily, last, "yyyy-MM-dd", or "yyyy-MM-dd HH:mm:SS" format: ' + text + ' (config)\n', done.err)
        self.assertFalse(self.exists('.digdag'))
        self.assertTrue(self.digdag('run', 'w.dig', '--session', '2026-02-30').log('session_time=2026-02-28T00:00:00+00:00'))

    # cli 11.47
    def test_a_session_by_schedule_needs_a_schedule(self):
        self.file('w.dig', THREE)
        done = self.digdag('run', 'w.dig', '--session', 'schedule')
        self.assert_error(done, '\nerror: --session schedule is set but schedule is not set to this workflow.\n')

    # cli 11.50
    def test_a_workflow_that_is_not_there_is_looked_for_in_words_of_the_place(self):
        os.mkdir(os.path.join(self.project, 'dir'))
        nowhere = "Workflow '{}' does not exist in "
        for words, text in (
                (['sub/w'], nowhere.format('sub/w') + 'current directory. You may need to type "cd sub" first, or set "--project sub" option.'),
                (['nope.dig'], nowhere.format('nope') + 'current directory. You may need to change directory first, or set --project option.'),
                (['nope', '--project', 'dir'], nowhere.format('nope') + "project directory 'dir'.")):
            self.assert_error(self.digdag('run', *words), f'\nerror: {text} (resource not found)\n')

    # cli 11.51
    def test_a_workflow_outside_of_the_project_is_refused(self):
        self.file('w.dig', THREE)
        os.mkdir(os.path.join(self.project, 'sub'))
        here = os.path.realpath(self.project)
        done = self.digdag('run', '../w.dig', '--project', 'sub')
        self.assert_error(done, f"\nerror: Given path '{here}/w.dig' is outside of project directory '{here}/sub' (illegal argument)\n")

    # cli 11.60
    def test_a_key_that_nothing_reads_is_told_with_what_may_have_been_meant(self):
        done = self.run_workflow('+a:\n  wait>: 0s\n  blockin: true\n')
        lines = [line.split(': ', 1)[1] for line in done.log('[ERROR]')]
        self.assertEqual((done.code, lines), (0, ["Parameter 'blockin' is not used at task +w+a.", '  > Did you mean [blocking]?']))

    # cli 11.61
    def test_a_failure_on_purpose_has_its_message_alone(self):
        done = self.run_workflow('_error:\n  echo>: handled\n+a:\n  fail>: not today\n+b:\n  echo>: later\n')
        self.assertEqual(done.code, 1)
        self.assertIn('\nerror: \n  * +w+a:\n    not today\n', done.err)
        self.assertIn('handled', self.printed(done))
        self.assertNotIn('+w+b', done.ran())

    # cli 11.62
    def test_tasks_that_failed_side_by_side_are_all_named(self):
        done = self.run_workflow('+p:\n  _parallel: true\n  +a:\n    fail>: one\n  +b:\n    fail>: two\n')
        self.assertEqual(re.findall(r'(?m)^  \* (\S+):$', done.err), ['+w+p+a', '+w+p+b'])

    # cli 11.114
    def test_a_command_that_is_no_text_is_announced_as_java_prints_it(self):
        done = self.run_workflow('+a:\n  for_each>: {v: [1, 2], w: [x]}\n  _do:\n    echo>: ${v}\n')
        self.assertTrue(done.log('for_each>: {v=[1, 2], w=[x]}'), done.out)


if __name__ == '__main__':
    unittest.main()
