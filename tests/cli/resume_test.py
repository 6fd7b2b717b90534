#!/usr/bin/env python3
"""Saved state of local runs: what is skipped, what is saved, what is removed (spec/clarifications.md 1.4, 1.5, decisions C-20 to C-27)."""
import os
import re
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from program import BINARY, ProgramTest, SESSION  # noqa: E402


class Resume(ProgramTest):
    def test_a_task_that_succeeded_and_then_fails_again_has_no_state(self):
        self.file('ok', '')
        text = '+a:\n  sh>: test -e ok\n'
        self.assertEqual(self.run_workflow(text).code, 0)
        os.remove(os.path.join(self.project, 'ok'))
        self.assertEqual(self.run_workflow(text, '--rerun').code, 1)
        self.assertEqual(self.state_files(), [])
        self.assertEqual(self.run_workflow(text).code, 1, 'the plain run must not skip the failed task')

    def test_the_newest_generation_of_a_retried_group_decides(self):
        # +a succeeds in the first round and fails in the second.
        text = '+g:\n  _retry: 1\n  +a:\n    sh>: if [ -e once ]; then exit 1; fi; touch once\n  +b:\n    fail>: always\n'
        self.assertEqual(self.run_workflow(text).code, 1)
        self.assertEqual(self.state_files(), [])

    def test_a_group_whose_retry_succeeds_ends_with_success(self):
        done = self.run_workflow('+g:\n  _retry: 1\n  +a:\n    sh>: if [ -e once ]; then exit 0; fi; touch once; exit 1\n')
        self.assertEqual(done.code, 0, done.err)
        self.assertNotIn('error:', done.err)
        self.assertEqual(self.state_files(), ['+w', '+w+g', '+w+g+a'])

    def test_stored_parameters_come_back_with_their_types(self):
        self.file('tasks.py', 'import digdag\ndef store():\n    digdag.env.store({"half": 0.5, "zero": "010", "n": 7, "deep": {"yes": [True, None, "yes"]}})\n')
        text = '+s:\n  py>: tasks.store\n+show:\n  echo>: ${half === 0.5} ${zero} ${n === 7} ${JSON.stringify(deep)}\n'
        expected = 'true 010 true {"yes":[true,null,"yes"]}'
        self.assertIn('\n' + expected, self.run_workflow(text).out)
        second = self.run_workflow(text, '--start', '+show')
        self.assertIn('\n' + expected, second.out)
        self.assertEqual(len(second.log('Skipped')), 1)

    def test_a_run_that_skips_tasks_says_how_many(self):
        text = '+a:\n  echo>: 1\n+b:\n  echo>: 2\n'
        self.assertNotIn('executed', self.run_workflow(text).err)
        self.assertIn('0 executed, 2 skipped (saved state; use --rerun)', self.run_workflow(text).err)

    def test_an_edited_task_is_skipped_with_a_warning(self):
        self.run_workflow('+a:\n  echo>: 1\n')
        done = self.run_workflow('+a:\n  echo>: 2\n')
        self.assertEqual(len(done.log('Skipped')), 1)
        self.assertTrue(done.log('was changed since it succeeded; use --start +w+a'))

    def test_a_dry_run_leaves_state_alone(self):
        self.run_workflow('+a:\n  echo>: 1\n')
        self.assertEqual(self.run_workflow('+a:\n  echo>: 1\n+b:\n  echo>: 2\n', '--dry-run', '--rerun').code, 0)
        self.assertEqual(self.state_files(), ['+w', '+w+a'])

    def test_a_dry_run_saves_nothing_not_even_groups_without_tasks(self):
        self.assertEqual(self.run_workflow('+a: {}\n+b:\n  _disable: true\n', '--dry-run').code, 0)
        self.assertFalse(self.exists('.digdag'))

    def test_a_task_that_was_disabled_runs_when_it_is_enabled(self):
        text = '+a:\n  _disable: true\n  echo>: enabled\n+b:\n  _disable: false\n  echo>: b\n'
        self.run_workflow(text)
        done = self.run_workflow(text.replace('true', 'false'))
        self.assertEqual([line for line in done.out.split('\n') if line in ('enabled', 'b')], ['enabled'])

    # execution 32.101, decisions C-21
    def test_goal_runs_the_iterations_of_a_loop_and_saves_nothing_else(self):
        text = '+a:\n  echo>: a\n+l:\n  loop>: 2\n  _do:\n    echo>: ${i}\n+z:\n  echo>: z\n'
        done = self.run_workflow(text, '--goal', '+l')
        self.assertEqual([line for line in done.out.split('\n') if line in 'a01z'], ['a', '0', '1', ''])
        self.assertEqual(self.state_files(), ['+w+a', '+w+l', '+w+l^sub', '+w+l^sub+loop-0', '+w+l^sub+loop-1'])

    def test_the_hint_after_a_goal_says_that_it_runs_again(self):
        done = self.run_workflow('+a:\n  echo>: a\n+b:\n  sh>: test -e ok\n', '--goal', '+b')
        self.assertRegex(done.err, r"(?m)^hint: digdag run w.dig -g \+b --session '[^']*'    runs \+b again$")

    def pasted_hint(self, done):
        """Runs what the hint of a failed run says, as a person would paste it."""
        [command] = re.findall(r'(?m)^hint: digdag (run .*?)    ', done.err)
        return subprocess.run(f'{BINARY} {command}', shell=True, cwd=self.project, env=self.environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False)

    def test_the_hint_of_a_failed_run_goes_on_with_the_same_parameters_and_runs_nothing_twice(self):
        self.file('w.dig', '+p:\n  _parallel: true\n  +a:\n    sh>: test -e "${file}" && echo a ${word}\n  +b:\n    sh>: echo b >> ran.txt\n'
                           '+z:\n  sh>: echo z ${word}\n')
        self.file('more.yml', "file: it's here\n")
        done = self.digdag('run', 'w.dig', '+p', '-p', 'word=two words', '-P', 'more.yml', '-o', 'my state', '--timezone', 'Asia/Tokyo', *SESSION)
        self.assertEqual(done.code, 1, done.err)
        self.file("it's here", '')
        again = self.pasted_hint(done)
        self.assertEqual(again.returncode, 0, again.stdout)
        self.assertIn('\na two words\n', again.stdout)
        self.assertNotIn('z two', again.stdout)
        self.assertEqual(self.content('ran.txt'), 'b\n')

    def test_the_hint_after_a_selection_by_hand_begins_at_the_failed_task(self):
        done = self.run_workflow('+a:\n  echo>: a\n+b:\n  sh>: test -e ok\n+c:\n  echo>: c\n', '--rerun')
        self.file('ok', '')
        self.assertIn('--start +w+b    runs again from here', done.err)
        again = self.pasted_hint(done)
        self.assertIn('\nc\n', again.stdout)
        self.assertNotIn('\na\n', again.stdout)

    def test_without_saved_state_there_is_no_hint_to_go_on(self):
        done = self.run_workflow('+a:\n  echo>: a\n+b:\n  fail>: no\n', '--no-save')
        self.assertNotIn('hint:', done.err)

    def test_values_of_secret_parameters_and_keys_are_not_repeated(self):
        done = self.run_workflow('_params: {key: {secret: true}}\n+b:\n  fail>: no\n', '-p', 'key=hush', '-X', 'secrets.k=quiet',
                                 '-X', 'notification.mail.password=psst')
        self.assertIn(" -p 'key=***' -X 'notification.mail.password=***' ", done.err)
        for secret in ('hush', 'quiet', 'psst'):
            self.assertNotIn(secret, done.err)

    def test_values_that_a_loop_computed_stay_data_when_their_group_comes_from_saved_state(self):
        text = ('+each:\n  for_each>:\n    v: "${[\'$\'+\'{1+1}\']}"\n  _do:\n    echo>: value ${v}\n'
                '+last:\n  sh>: test -e ok\n')
        self.assertIn('\nvalue ${1+1}\n', self.run_workflow(text).out)
        self.file('ok', '')
        os.remove(os.path.join(self.project, '.digdag/status/20260102T000000+0000/+w+each^sub.yml'))
        [iteration] = [name for name in self.state_files() if name.startswith('+w+each^sub+')]
        os.remove(os.path.join(self.project, f'.digdag/status/20260102T000000+0000/{iteration}.yml'))
        self.assertIn('+w+each', self.state_files())
        done = self.run_workflow(text)
        self.assertIn('\nvalue ${1+1}\n', done.out, done.err)

    def test_tasks_whose_names_no_file_can_have_are_saved_too(self):
        names = [letter * 90 for letter in 'abc']
        text = f'+{names[0]}:\n  +{names[1]}:\n    +{names[2]}:\n      echo>: deep\n'
        for expected in (1, 0):
            done = self.run_workflow(text)
            self.assertEqual(done.code, 0, done.err)
            self.assertEqual(done.out.count('\ndeep\n'), expected, done.out)

    def test_edited_tasks_are_noticed_though_a_required_workflow_was_saved_as_well(self):
        self.file('other.dig', '+o:\n  echo>: o\n')
        text = '+a:\n  echo>: 1\n+r:\n  require>: other\n'
        self.run_workflow(text)
        done = self.run_workflow(text.replace('1', '2'))
        self.assertTrue(done.log('Task +w+a was changed since it succeeded'), done.out)

    def test_two_runs_that_require_the_same_session_run_it_once(self):
        self.file('c.dig', '+o:\n  sh>: echo once >> ran.txt; touch started; until [ -e go ]; do sleep 0.05; done\n')
        self.file('b.dig', '+r:\n  require>: c\n')
        first = self.start('run', 'b.dig', *SESSION)
        self.wait_for('the required workflow', lambda: self.exists('started'))
        self.file('w.dig', '+r:\n  require>: c\n')
        second = self.start('run', 'w.dig', '--log-to', 'stderr', *SESSION)
        told = ''
        while 'is being run by pid' not in told:
            line = second.stderr.readline().decode()
            self.assertTrue(line, told)
            told += line
        self.file('go', '')
        self.assertEqual(first.wait(60), 0)
        self.assertEqual(second.wait(60), 0)
        self.assertEqual(self.content('ran.txt'), 'once\n')

    def test_what_a_lock_points_to_is_not_overwritten(self):
        victim = self.file('victim', 'precious')
        os.makedirs(os.path.join(self.project, '.digdag/status/20260102T000000+0000'))
        os.symlink(victim, os.path.join(self.project, '.digdag/status/20260102T000000+0000/.lock+w'))
        self.assert_error(self.run_workflow('+a:\n  echo>: ran\n'), 'is a symbolic link')
        self.assertEqual(self.content('victim'), 'precious')

    # cli 11.115, execution 32.48
    def test_a_start_at_a_loop_runs_all_its_iterations_again(self):
        text = '+a:\n  echo>: a\n+l:\n  loop>: 2\n  _do:\n    echo>: ${i}\n+z:\n  fail>: no\n'
        self.assertEqual(self.run_workflow(text).code, 1)
        done = self.run_workflow(text, '--start', '+l')
        self.assertEqual([line for line in done.out.split('\n') if line in ('a', '0', '1')], ['0', '1'])
        self.assertEqual(len(done.log('Skipped')), 1)

    # execution 32.102, decisions C-20
    def test_what_the_end_left_out_runs_the_next_time(self):
        text = '+a:\n  echo>: a\n+z:\n  echo>: z\n'
        self.assertEqual(self.run_workflow(text, '--end', '+z').code, 0)
        self.assertEqual(self.state_files(), ['+w+a'])
        done = self.run_workflow(text)
        self.assertIn('\nz', done.out)
        self.assertEqual(self.state_files(), ['+w', '+w+a', '+w+z'])

    def lock(self, workflow):
        directory = os.path.join(self.project, '.digdag/status/20260102T000000+0000')
        os.makedirs(directory, exist_ok=True)
        return os.path.join(directory, '.lock+' + workflow)

    def test_a_lock_that_cannot_be_opened_is_an_error(self):
        os.mkdir(self.lock('w'))
        done = self.run_workflow('+a:\n  echo>: ran\n')
        self.assert_error(done, 'the session cannot be locked', '.lock+w cannot be opened: Is a directory', 'hint: remove it')
        self.assertNotIn('ran', done.out)

    def test_a_required_session_that_cannot_be_locked_fails_each_time_it_is_asked_for(self):
        self.file('sub.dig', '+o:\n  echo>: ran\n')
        os.mkdir(self.lock('sub'))
        done = self.run_workflow('+r:\n  require>: sub\n  _retry: 1\n')
        self.assert_error(done, '  * +w+r:', '.lock+sub cannot be opened')
        self.assertEqual(len(done.log('Task failed, retrying')), 1)

    def test_a_required_session_stays_closed_until_the_tasks_of_a_killed_run_are_gone(self):
        self.file('sub.dig', "+o:\n  sh>: trap '' TERM; touch started; until [ -e go ]; do sleep 0.05; done\n")
        self.file('w.dig', '+r:\n  require>: sub\n')
        first = self.start('run', 'w.dig', *SESSION)
        self.wait_for('the required workflow', lambda: self.exists('started'))
        first.kill()
        first.wait(30)
        self.assert_error(self.digdag('run', 'sub.dig', *SESSION), "of workflow 'sub' is still being stopped")
        self.file('go', '')
        self.wait_for('the end of its tasks', lambda: self.digdag('run', 'sub.dig', *SESSION).code == 0)

    def test_handlers_are_neither_saved_nor_skipped(self):
        text = '+a:\n  fail>: no\n  _error:\n    echo>: handled\n'
        for _ in range(2):
            done = self.run_workflow(text)
            self.assertIn('\nhandled', done.out)
            self.assertEqual(self.state_files(), [])

    # cli 11.112
    def test_a_state_file_that_cannot_be_read_is_ignored_with_a_warning(self):
        for content in ('x: [', 'state: 5\n', '', 'fullName: "+w+a"\nstate: "success"\nresult: 5\n', '\x00\x01'):
            self.file('.digdag/status/20260102T000000+0000/+w+a.yml', content)
            done = self.run_workflow('+a:\n  echo>: ran\n')
            self.assertIn('\nran', done.out, content)
            self.assertTrue(done.log('Ignoring a state file'), content)

    def test_a_required_workflow_has_state_of_its_own(self):
        self.file('other.dig', '+o:\n  sh>: echo once >> ran.txt\n')
        text = '+r:\n  require>: other\n+f:\n  fail>: no\n'
        self.assertEqual(self.run_workflow(text).code, 1)
        self.assertEqual(self.state_files(), ['+other', '+other+o', '+w+r'])
        self.assertEqual(self.run_workflow(text, '--rerun').code, 1)
        self.assertEqual(self.content('ran.txt'), 'once\n')

    def test_a_workflow_that_requires_itself_is_refused(self):
        done = self.run_workflow('+r:\n  require>: w\n')
        self.assert_error(done, "'w' requires itself")

    def test_workflows_that_require_each_other_are_refused_with_the_chain(self):
        self.file('b.dig', '+r:\n  require>: w\n')
        self.assert_error(self.run_workflow('+r:\n  require>: b\n'), 'b -> w -> b')

    def test_required_attempts_wait_for_their_turn_where_concurrency_is_limited(self):
        self.file('c.dig', '_concurrency: 1\n+o:\n  sh>: echo begin >> ran.txt; sleep 0.3; echo end >> ran.txt\n')
        text = '+r:\n  _parallel: true\n' + ''.join(
            f'  +r{day}:\n    require>: c\n    session_time: 2026-01-0{day}T00:00:00+00:00\n' for day in (3, 4, 5))
        done = self.run_workflow(text)
        self.assertEqual(done.code, 0, done.err)
        self.assertEqual(self.content('ran.txt'), 'begin\nend\n' * 3)

    def test_a_required_attempt_is_refused_where_concurrency_says_so(self):
        self.file('c.dig', '_concurrency: {limit: 1, on_limit: fail}\n+o:\n  sh>: while [ ! -e refused ]; do sleep 0.05; done\n')
        text = '+r:\n  _parallel: true\n' + ''.join(
            f'  +r{day}:\n    require>: c\n    session_time: 2026-01-0{day}T00:00:00+00:00\n    _error:\n      sh>: touch refused\n'
            for day in (3, 4))
        self.assert_error(self.run_workflow(text), "'c' runs already", '_concurrency limit: 1')

    def test_a_broken_required_workflow_is_named_with_its_place(self):
        self.file('b.dig', '+r:\n  foo: 1\n')
        self.assert_error(self.run_workflow('+r:\n  require>: b\n'), 'b.dig:2:3')

    def test_a_state_directory_that_cannot_be_made_is_said_at_the_end(self):
        self.file('.digdag', 'a file in the way')
        done = self.run_workflow('+a:\n  echo>: ran\n')
        self.assertIn('\nran', done.out)
        self.assert_error(done, 'could not be saved', 'Success.')
        self.assertNotIn('Task state is saved', done.err)


if __name__ == '__main__':
    unittest.main()
