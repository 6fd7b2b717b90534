#!/usr/bin/env python3
"""What a push tells of a workflow that is stored but cannot run, and where it is wrong what it refuses."""
import os
import unittest

from running import ServerTest


class Push(ServerTest):
    def push(self, settings='', **workflows):
        server = self.server(*self.config('database.type = memory\n' + settings))
        self.environment['DIGDAG_CONFIG'] = f'client.http.endpoint=http://127.0.0.1:{server.port}'
        for name, text in workflows.items():
            self.file(f'p/{name}.dig', text)
        return self.digdag('push', 'p', '--project', 'p', '-r', '1')

    # decisions E-19
    def test_a_wrong_monitor_is_told_at_push_and_named_at_start(self):
        done = self.push(daily='sla: {duration: 1h}\n+a:\n  echo>: 1\n')
        self.assertEqual(done.code, 0)
        self.assertIn('warning: daily.dig:1:7: SLA duration option needs to be HH:MM or HH:MM:SS format: 1h; no attempt will start: '
                      'for an hour write 01:00 [W-sla]\n', done.err)
        self.assert_error(self.digdag('start', 'p', 'daily', '--session', 'now'),
                          "SLA duration option needs to be HH:MM or HH:MM:SS format: 1h (workflow 'daily': for an hour write 01:00)")

    # scheduling 14.29, 14.31
    def test_a_schedule_that_is_refused_is_shown_where_it_stands(self):
        for schedule, place, why, hint in (
                ('dailly>: 07:00:00', 'w.dig:3:3: ', 'Unknown scheduler type: dailly', "did you mean 'daily>'?"),
                ('daily>: 07:00:00\n  start: tomorrow', 'w.dig:3:3: ', 'Invalid start: tomorrow', ''),
                ('cron>: 0 0 0', 'w.dig:3:3: ', '0 0 0', ''),
                ('daily>: 07:00:00\n  skip_on_overtme: true', 'w.dig:4:3: ', "Parameter 'skip_on_overtme' is not used at schedule. ",
                 "Did you mean '[skip_on_overtime]'?")):
            self.assert_error(self.push(w=f'timezone: UTC\nschedule:\n  {schedule}\n+a:\n  echo>: 1\n'), 'Status code 400: ', place, why, hint)

    def test_what_is_refused_for_a_limit_or_a_name_says_what_to_do(self):
        self.assertEqual(self.push(w='+a:\n  echo>: 1\n').code, 0)
        self.assert_error(self.digdag('push', 'p', '--project', 'p', '-r', '1'), 'Resource already exists: revision=1', '\nhint: a revision never changes')
        os.makedirs(os.path.join(self.project, 'p/data'))
        with open(os.path.join(self.project, 'p/data/random'), 'wb') as file:
            file.write(os.urandom(100_000))
        self.assert_error(self.push('api.max_archive_total_size_limit = 50000\n', w='+a:\n  echo>: 1\n'),
                          'exceeds limit', 'api.max_archive_total_size_limit')


if __name__ == '__main__':
    unittest.main()
