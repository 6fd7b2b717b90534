#!/usr/bin/env python3
"""`digdag scheduler`: a server whose only project is a directory."""
import os
import unittest

from running import ServerTest

WORKFLOW = 'timezone: UTC\nschedule:\n  daily>: 07:00:00\n+a:\n  echo>: hello\n'


class SchedulerTest(ServerTest):
    def scheduler(self, *words):
        return self.server('-L', os.path.join(self.project, 'log'), *words, command='scheduler')

    def log(self):
        return self.content('log') if self.exists('log') else ''

    def logged(self, text):
        self.wait_for(f'{text!r} in the log', lambda: text in self.log())

    def revision(self, server):
        return server.get('/api/project?name=default').json()['revision']

    def workflows(self, server):
        project = server.get('/api/project?name=default').json()['id']
        return [one['name'] for one in server.get(f'/api/projects/{project}/workflows').json()['workflows']]

    def run_to_the_end(self, server, name):
        workflow = server.get(f'/api/workflow?project=default&name={name}').json()['id']
        attempt = server.send('PUT', '/api/attempts', {'workflowId': workflow, 'sessionTime': '2026-01-02T00:00:00Z', 'params': {}}).json()['id']
        self.wait_for('the attempt', lambda: server.get(f'/api/attempts/{attempt}').json()['done'])
        return server.get(f'/api/attempts/{attempt}').json()


class Project(SchedulerTest):
    def test_the_directory_is_revision_1_of_the_project_default(self):
        self.file('w.dig', WORKFLOW)
        server = self.scheduler()
        project = server.get('/api/project?name=default').json()
        self.assertEqual((project['revision'], project['archiveType'], project['archiveMd5']), ('1', 'none', None))
        self.assertEqual([one['workflow']['name'] for one in server.get('/api/schedules').json()['schedules']], ['w'])
        server.end()
        self.assertIn('Added new revision 1', self.log())

    # execution 21.4, scheduling 12.1, server 23.77
    def test_tasks_work_in_the_directory_itself(self):
        self.file('w.dig', '+a:\n  sh>: cp given made\n')
        self.file('given', 'x')
        server = self.scheduler()
        self.assertTrue(self.run_to_the_end(server, 'w')['success'])
        self.assertEqual(self.content('made'), 'x')

    def test_the_directory_may_be_another_one(self):
        self.file('there/w.dig', '+a:\n  sh>: echo ${_project_path} ${k} > made\n')
        server = self.scheduler('--project', 'there', '-p', 'k=v')
        self.assertTrue(self.run_to_the_end(server, 'w')['success'])
        self.assertEqual(self.content('there/made'), os.path.realpath(os.path.join(self.project, 'there')) + ' v\n')

    # decisions S-27, server 3.3
    def test_parameters_of_the_command_line_are_those_of_the_server_and_below_those_of_the_revision(self):
        self.file('w.dig', '+a:\n  sh>: echo ${k} ${l} ${m} > made\n')
        self.file('params.yml', 'k: file\nl: file\nm: file\n')
        server = self.scheduler('-P', 'params.yml', '-p', 'l=word', '-p', 'm=word', '-X', 'scheduler.localOverrideParams={"m": "revision"}')
        self.assertTrue(self.run_to_the_end(server, 'w')['success'])
        self.assertEqual(self.content('made'), 'file word revision\n')

    def test_a_broken_directory_is_an_error_at_the_start(self):
        self.file('w.dig', 'a: [')
        self.assert_error(self.digdag('scheduler', '-n', '0'), 'Validating project failed', 'w.dig:1')


class Changes(SchedulerTest):
    # cli 11.107, scheduling 14.59, server 23.77
    def test_a_changed_file_is_the_next_revision(self):
        self.file('w.dig', WORKFLOW)
        server = self.scheduler()
        self.file('v.dig', '+a:\n  echo>: bye\n')
        self.logged('Added new revision 2')
        self.assertIn('Reloading ' + os.path.realpath(self.project), self.log())
        self.assertEqual(self.workflows(server), ['v', 'w'])
        os.remove(os.path.join(self.project, 'w.dig'))
        self.logged('Added new revision 3')
        self.assertEqual(server.get('/api/schedules').json()['schedules'], [])

    # cli 11.107, scheduling 14.60
    def test_a_broken_file_changes_nothing_until_it_is_mended(self):
        self.file('w.dig', WORKFLOW)
        server = self.scheduler()
        self.file('w.dig', 'a: [')
        self.logged('Failed to reload')
        self.assertEqual(self.revision(server), '1')
        self.file('w.dig', '+a:\n  echo>: mended\n')
        self.logged('Added new revision 2')

    # decisions S-26
    def test_a_restart_goes_on_with_what_is_stored(self):
        self.file('w.dig', WORKFLOW)
        self.scheduler('-o', 'data').end()
        server = self.scheduler('-o', 'data')
        self.assertEqual(self.revision(server), '1')
        server.end()
        self.file('w.dig', '+a:\n  echo>: other\n')
        server = self.scheduler('-o', 'data')
        self.assertEqual(self.revision(server), '2')
        server.end()
        self.assertEqual(self.log().count('Added new revision'), 2)

    # decisions S-26
    def test_numbers_go_on_behind_revisions_that_were_pushed(self):
        self.file('w.dig', WORKFLOW)
        server = self.scheduler('-o', 'data')
        self.file('pushed/x.dig', '+a:\n  echo>: x\n')
        done = self.digdag('push', 'default', '--project', 'pushed', '-r', '7', '-e', f'http://127.0.0.1:{server.port}')
        self.assertEqual(done.code, 0, done.err)
        server.end()
        self.assertEqual(self.revision(self.scheduler('-o', 'data')), '8')


class CommandLine(SchedulerTest):
    def test_words_show_the_usage(self):
        for name in ('scheduler', 'sched'):
            self.assertIn('Usage: digdag scheduler', self.digdag(name, 'now').err)
        self.assertIn('--project', self.digdag('scheduler', '--help').err)


if __name__ == '__main__':
    unittest.main()
