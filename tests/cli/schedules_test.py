#!/usr/bin/env python3
"""Schedules of a server: showing, stopping and moving them, and sessions of the past."""
import unittest

from fake_server import ClientTest

PROJECT = {'id': '1', 'name': 'myproj'}
SCHEDULE = {'id': '7', 'project': PROJECT, 'workflow': {'id': '2', 'name': 'main'}, 'nextRunTime': '2999-01-01T22:00:00Z',
            'nextScheduleTime': '2999-01-02T00:00:00+09:00', 'disabledAt': None}
ATTEMPT = {'status': 'running', 'id': '5', 'project': PROJECT, 'workflow': {'name': 'main', 'id': '2'}, 'sessionId': '4', 'sessionUuid': 'u-u-i-d',
           'sessionTime': '2026-01-01T00:00:00+09:00', 'retryAttemptName': 'bf1', 'done': False, 'success': False, 'cancelRequested': False,
           'params': {}, 'createdAt': '2026-01-03T00:00:00Z', 'finishedAt': None}
PAST = (409, {'message': 'Specified time to skip schedules is already past', 'status': 409})


class SchedulesTest(ClientTest):
    answers = {'GET /api/schedules': {'schedules': [SCHEDULE]}, 'GET /api/schedules/7': SCHEDULE, 'GET /api/projects': {'projects': [PROJECT]},
               'POST /api/schedules/7/disable': SCHEDULE, 'POST /api/schedules/7/enable': SCHEDULE, 'POST /api/schedules/7/skip': SCHEDULE,
               'POST /api/schedules/7/backfill': {'id': '7', 'project': PROJECT, 'workflow': {'id': '2', 'name': 'main'}, 'attempts': [ATTEMPT, ATTEMPT]},
               'GET /api/workflows/2/truncated_session_time': {'sessionTime': '2026-01-01T00:00:00+09:00'}}

    def setUp(self):
        super().setUp()
        self.server.answers['GET /api/projects/1/schedules'] = \
            lambda request: {'schedules': [] if request.query.get('last_id') or request.query.get('workflow') == 'nope' else [SCHEDULE]}

    # scheduling 14.66
    def test_a_schedule_that_has_ended_says_so(self):
        self.server.answers['GET /api/schedules'] = {'schedules': [{**SCHEDULE, 'nextRunTime': '9999-01-01T00:00:00Z',
                                                                    'nextScheduleTime': '9999-01-01T00:00:00+00:00'}]}
        self.assertIn('  next session time: none, the schedule has ended\n  next scheduled to run at: none, the schedule has ended\n',
                      self.client('schedules').out)

    # cli 11.90
    def test_show_disable_and_enable(self):
        done = self.client('schedules')
        self.assertRegex(done.out, r'''^Schedules:
  id: 7
  project: myproj
  workflow: main
  disabled at: 
  next session time: 2999-01-02 00:00:00 \+0900
  next scheduled to run at: 2999-01-01 22:00:00 \+0000 \(in \d+h \d+m \d+s\)

1 entries.
$''')
        self.server.answers['GET /api/schedules'] = {'schedules': [{**SCHEDULE, 'disabledAt': '2026-01-01T00:00:00Z'}]}
        self.assertRegex(self.client('schedules').out, r'  disabled at: 2026-01-01 00:00:00 \+0000 \(\d+h \d+m \d+s ago\)\n')
        for words in (['7'], ['myproj'], ['myproj', 'main']):
            self.assertEqual(self.client('disable', *words).out, 'Disabled schedule id: 7\n')
            self.assertEqual(self.client('enable', *words).out, 'Enabled schedule id: 7\n')
        self.assertEqual(self.server.last('POST').json(), {})
        self.assert_error(self.client('disable', 'myproj', 'nope'),
                          'error: Resource not found: schedule not found in the latest revision of project id = 1: nope')

    def test_enable_can_leave_out_what_was_missed(self):
        self.client('enable', '7', '--skip-missed')
        self.assertEqual(self.server.last('POST').json(), {'skipSchedule': True, 'nextTime': None})
        self.server.answers['POST /api/schedules/7/enable'] = [PAST, SCHEDULE]
        self.assertEqual(self.client('enable', '7', '--skip-missed').out, 'Enabled schedule id: 7\n')
        self.assertEqual(self.server.last('POST').json(), {})

    # cli 11.91
    def test_reschedule_shows_the_new_times(self):
        done = self.client('reschedule', '7', '-s', '1', '-d')
        self.assertRegex(done.out, r'^  id: 7\n  workflow: main\n  disabled at: \n  next session time: 2999-01-02 00:00:00 \+0900\n'
                         r'  next scheduled to run at: 2999-01-01 22:00:00 \+0000 \(in [\dhms ]+\)\n\n$')
        self.assertIn('Schedule is not updated.\n', done.err)
        sent = self.server.last('POST').json()
        self.assertEqual({**sent, 'fromTime': 'now'}, {'count': 1, 'fromTime': 'now', 'nextTime': None, 'nextRunTime': None, 'dryRun': True})
        done = self.client('reschedule', 'myproj', 'main', '-t', '2030-01-01 00:00:00 +0900', '-a', '1900000000')
        self.assertIn('Use `digdag schedules` to show schedules.\n', done.err)
        self.assertEqual(self.server.last('POST').json(), {'count': None, 'fromTime': None, 'nextTime': '2029-12-31T15:00:00Z',
                                                           'nextRunTime': '2030-03-17T17:46:40Z', 'dryRun': False})

    # cli 11.92
    def test_reschedule_needs_one_way_to_say_when(self):
        done = self.client('reschedule', '7')
        self.assert_error(done, 'Usage: digdag reschedule', 'error: -s or -t is required')
        self.assert_error(self.client('reschedule', '7', '-s', '1', '-t', 'now'), "error: -s and -t can't be set together")
        self.assert_error(self.client('reschedule', '7', '-t', '2030-01-01'),
                          'error: -t, --skip-to option must be "yyyy-MM-dd HH:mm:ss Z" format or UNIX timestamp: 2030-01-01\nhint: current local time is "')
        self.server.answers['POST /api/schedules/7/skip'] = PAST
        self.assert_error(self.client('reschedule', '7', '-t', 'now'), 'error: Request conflicted: ', 'already past')

    # cli 11.93
    def test_backfill(self):
        self.assert_error(self.client('backfill', '7'), 'error: --from option is required')
        self.assert_error(self.client('backfill', '7', '-f', 'bogus'), '--from option must be', 'bogus')
        done = self.client('backfill', '7', '-f', '2026-01-01', '--count', '2', '--name', 'bf1')
        block = ('  id: 5\n  uuid: u-u-i-d\n  project: myproj\n  workflow: main\n  session time: 2026-01-01 00:00:00 +0900\n'
                 '  retry attempt name: bf1\n  params: {}\n  created at: 2026-01-03 00:00:00 +0000\n\n')
        self.assertEqual(done.out, 'Session attempts:\n' + 2 * block)
        self.assertIn('Backfill session attempts started.\nUse `digdag sessions` to show the session attempts.\n', done.err)
        self.assertEqual(self.server.requests[-2].query, {'session_time': '2026-01-01T00:00:00'})
        self.assertEqual(self.server.last('POST').json(), {'fromTime': '2025-12-31T15:00:00Z', 'dryRun': False, 'attemptName': 'bf1', 'count': 2})
        self.assertIn('No session attempts started.\n', self.client('backfill', 'myproj', 'main', '-f', '2026-01-01', '-d', '--parallel', '4').err)
        self.assertEqual(self.server.last('POST').json()['parallel'], 4)
        self.server.answers['POST /api/schedules/7/backfill'] = {'attempts': []}
        self.assertIn('No session attempts started.\nThe schedule has no session from 2026-01-01 00:00:00 +0900 on that is before its next one, '
                      '2999-01-02 00:00:00 +0900.\n', self.client('backfill', '7', '-f', '2026-01-01').err)
        self.server.answers['POST /api/schedules/7/backfill'] = (409, {'message': 'Attempt … attempt name=bf1 already exists', 'status': 409})
        self.assert_error(self.client('backfill', '7', '-f', '2026-01-01', '--name', 'bf1'), 'error: Request conflicted: ', 'bf1')

    def test_backfill_can_wait_for_all(self):
        failed = {**ATTEMPT, 'done': True}
        self.server.answers['GET /api/attempts/5'] = [ATTEMPT, failed, {**failed, 'success': True}]
        self.assertEqual(self.client('backfill', '7', '-f', '2026-01-01', '--wait').code, 3)


if __name__ == '__main__':
    unittest.main()
