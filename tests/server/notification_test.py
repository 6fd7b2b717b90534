#!/usr/bin/env python3
"""What a server tells about attempts as a whole (spec/execution.md 19, 20; decisions V-70)."""
import json
import os
import unittest

from running import ServerTest


class Notifications(ServerTest):
    def begin(self, workflow, command, settings=''):
        self.told = os.path.join(self.project, 'told')
        server = self.server(*self.config('database.type = memory\nnotification.type = shell\nnotification.min_retry_wait = 1\n'
                                          f'notification.shell.command = {command.replace("FILE", self.told)}\n' + settings))
        self.environment['DIGDAG_CONFIG'] = f'client.http.endpoint=http://127.0.0.1:{server.port}'
        self.file('p/w.dig', workflow)
        self.assertEqual(self.digdag('push', 'p', '--project', 'p', '-r', 'first').code, 0)
        self.assertEqual(self.digdag('start', 'p', 'w', '--session', '2026-01-02').code, 0)
        return server

    def notification(self):
        self.wait_for('the notification', lambda: os.path.exists(self.told))
        with open(self.told, encoding='utf-8') as file:
            return json.load(file)

    WRITES = 'cat > FILE.new; mv FILE.new FILE'

    # execution 19.1, 19.2, 20.6, 32.84
    def test_an_attempt_that_is_too_old_is_told_and_ends(self):
        gate = os.path.join(self.project, 'gate')
        os.mkfifo(gate)
        fails_once = f'if mkdir FILE.once; then exit 1; fi; {self.WRITES}'
        self.begin(f'+a:\n  sh>: cat {gate}\n', fails_once, 'executor.attempt_ttl = 1s\nexecutor.ttl_reaping_interval = 1s\nagent.kill-grace-time = 0\n')
        told = self.notification()
        self.assertEqual((told['message'], told['workflow_name'], told['project_name'], told['revision'], told['attempt_id'], told['task_name']),
                         ('Workflow execution timeout', 'w', 'p', 'first', 1, None))
        self.wait_for('the end', lambda: 'status: killed' in self.digdag('attempt', '1').out)

    # execution 19.3, 32.83
    def test_a_task_that_runs_too_long_is_told(self):
        gate = os.path.join(self.project, 'gate')
        os.mkfifo(gate)
        self.begin(f'+a:\n  sh>: cat {gate}\n', self.WRITES, 'executor.task_ttl = 1s\nexecutor.ttl_reaping_interval = 1s\nagent.kill-grace-time = 0\n')
        self.assertRegex(self.notification()['message'], r'^Task execution timeout: \d+(,\d+)*$')
        self.wait_for('the end', lambda: 'status: killed' in self.digdag('attempt', '1').out)

    # decisions V-70
    def test_success_is_told_where_that_is_wanted(self):
        self.begin('+a:\n  echo>: done\n', self.WRITES, 'notification.on-success = true\n')
        self.assertEqual(self.notification()['message'], 'Workflow session attempt succeeded')

    def test_a_type_that_there_is_not_is_an_error_at_the_start(self):
        self.assert_error(self.digdag('server', *self.config('database.type = memory\nnotification.type = pigeon\n')), 'pigeon', 'http, mail or shell')


if __name__ == '__main__':
    unittest.main()
