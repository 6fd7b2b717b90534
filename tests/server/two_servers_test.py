#!/usr/bin/env python3
"""Two servers on one PostgreSQL database: each attempt runs once, and what one of them leaves the other one goes on with."""
import glob
import os
import unittest

from on_postgresql import PostgresqlServerTest


class TwoServers(PostgresqlServerTest):
    # execution 32.72
    def test_each_attempt_runs_once_whoever_is_asked(self):
        first, second = self.one(), self.one()
        self.push(first, w=f'+a:\n  sh>: echo ${{attempt_id}} >> {self.project}/ran\n+b:\n  echo>: b\n',
                  wide=f'+a:\n  loop>: 60\n  _parallel: true\n  _do:\n    sh>: echo ${{i}} >> {self.project}/ran_wide\n')
        ids = [self.start_attempt(server, 'w', number) for number, server in enumerate([first, second] * 10)]
        wide = self.start_attempt(second, 'wide')
        for attempt in [*ids, wide]:
            self.wait_for_status(second, attempt, 'success')
        self.assertEqual(sorted(self.lines('ran')), sorted(ids))
        self.assertEqual(sorted(self.lines('ran_wide'), key=int), [str(i) for i in range(60)])

    def test_a_kill_at_the_one_reaches_the_run_at_the_other(self):
        first, second = self.one(), self.one()
        self.push(first, w=f'+a:\n  sh>: touch {self.project}/begun; exec sleep 600\n')
        attempt = self.start_attempt(first, 'w')
        self.wait_for('the command', lambda: self.exists('begun'))
        self.assertEqual(second.send('POST', f'/api/attempts/{attempt}/kill', {}).status, 200)
        self.wait_for_status(second, attempt, 'killed')
        # By the owner, which has deleted the event.
        self.assertEqual(self.sql('select count(*) from digdag_native_events'), '0')

    # decisions E-44, server 23.46
    def test_what_a_killed_server_ran_the_other_one_runs_again(self):
        first, second = self.one(), self.one()
        self.push(first, w=f'+a:\n  sh>: echo $$ >> {self.project}/ran; test $(wc -l < {self.project}/ran) = 2 || exec sleep 600\n+b:\n  echo>: b\n')
        attempt = self.start_attempt(first, 'w')
        self.wait_for('the command', lambda: self.exists('ran'))
        first.process.kill()
        first.process.wait()
        self.wait_for_status(second, attempt, 'success')
        self.assertEqual(len(self.lines('ran')), 2)
        self.assertEqual(self.sql('select count(*) from digdag_native_servers'), '1')

    # decisions V-64
    def test_what_a_killed_server_had_not_packed_of_its_logs_the_other_one_packs(self):
        logs = os.path.join(self.project, 'logs')
        first, second = self.one('-O', logs), self.one('-O', logs)
        self.push(first, w=f'+a:\n  sh>: test -e {self.project}/go || {{ echo printed; exec sleep 600; }}\n')
        attempt = self.start_attempt(first, 'w')

        def printed(path):
            with open(path, 'rb') as file:
                return b'printed' in file.read()

        self.wait_for('its log', lambda: any(printed(path) for path in glob.glob(os.path.join(glob.escape(logs), '.spool/*/*'))))
        self.file('go', '')
        first.process.kill()
        first.process.wait()
        self.wait_for_status(second, attempt, 'success')

        def agents():
            return [file['agentId'] for file in second.get(f'/api/logs/{attempt}/files').json()['files']]

        self.wait_for('the log of the first one', lambda: any(agent.startswith(f'{first.process.pid}@') for agent in agents()))

    # decisions E-44
    def test_what_a_killed_server_ran_runs_again_as_soon_as_it_is_started_again(self):
        first = self.one()
        self.push(first, w=f'+a:\n  sh>: echo $$ >> {self.project}/ran; test $(wc -l < {self.project}/ran) = 2 || exec sleep 600\n')
        attempt = self.start_attempt(first, 'w')
        self.wait_for('the command', lambda: self.exists('ran'))
        first.process.kill()
        first.process.wait()
        # The lease of the first one would last longer: it is not waited for.
        again = self.one()
        self.wait_for('the begin', lambda: again.get('/api/ready').status == 200)
        self.assertEqual(self.sql('select count(*) from digdag_native_servers'), '1')
        self.wait_for_status(again, attempt, 'success')

    # server 23.53
    def test_an_attempt_of_a_server_that_executes_nothing_begins_at_another_one(self):
        door, worker = self.one('--disable-executor-loop', '--disable-local-agent', '--disable-scheduler'), self.one()
        self.push(door, w='+a:\n  echo>: a\n')
        self.wait_for_status(worker, self.start_attempt(door, 'w'), 'success')

    # server 23.49
    def test_an_attempt_of_a_server_that_runs_no_tasks_begins_at_another_one(self):
        door, worker = self.one('--disable-local-agent'), self.one()
        self.push(door, w='+a:\n  echo>: a\n')
        self.wait_for_status(worker, self.start_attempt(door, 'w'), 'success')

    # server 4.3
    def test_an_attempt_of_a_site_that_is_not_served_begins_at_another_one(self):
        door = self.one('-X', 'executor.account_routing.enabled=true', '-X', 'executor.account_routing.exclude=0')
        self.push(door, w='+a:\n  echo>: a\n')
        attempt = self.start_attempt(door, 'w')
        self.assertEqual(self.sql('select count(*) from digdag_native_attempts where owner is null'), '1')
        self.wait_for_status(self.one(), attempt, 'success')

    # execution 32.75, 32.108
    def test_one_that_was_taken_for_dead_stops_what_it_runs_and_goes_on_as_a_new_one(self):
        first, second = self.one(), self.one()
        self.push(first, w=f'+a:\n  sh>: echo $$ >> {self.project}/ran; test -e {self.project}/go || exec sleep 600\n'
                           f'+b:\n  sh>: echo b >> {self.project}/ran_next\n')
        attempt = self.start_attempt(first, 'w')
        self.wait_for('the command', lambda: self.exists('ran'))
        owner = self.sql('select owner from digdag_native_attempts')
        self.file('go', '')
        # As another server does it that cannot see it any more.
        self.sql(f"begin; update digdag_native_attempts set owner = null where owner = '{owner}'; "
                 f"delete from digdag_native_servers where id = '{owner}'; select pg_notify('digdag', 'attempts'); commit")
        self.wait_for_status(second, attempt, 'success')
        # The new run and the old one, which was stopped.
        self.assertEqual(len(self.lines('ran')), 2)
        self.assertEqual(self.lines('ran_next'), ['b'])
        old = self.lines('ran')[0]
        self.wait_for('the end of the old run', lambda: not os.path.exists(f'/proc/{old}'))
        self.wait_for('both servers', lambda: self.sql('select count(*) from digdag_native_servers') == '2')
        self.wait_for_status(first, self.start_attempt(first, 'w', 1), 'success')

    def test_without_its_listening_connection_a_server_lives_on(self):
        first, second = self.one(), self.one()
        self.push(first, w=f'+a:\n  sh>: echo $$ >> {self.project}/ran; until test -e {self.project}/go; do sleep 0.05; done\n')
        attempt = self.start_attempt(first, 'w')
        self.wait_for('the command', lambda: self.exists('ran'))
        self.sql("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()")
        self.wait_for('both to listen again', lambda: self.sql("select count(*) from pg_locks where locktype = 'advisory'") == '2')
        self.file('go', '')
        self.wait_for_status(second, attempt, 'success')
        self.assertEqual(len(self.lines('ran')), 1)


if __name__ == '__main__':
    unittest.main()
