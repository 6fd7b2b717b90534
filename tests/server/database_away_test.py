#!/usr/bin/env python3
"""A server whose PostgreSQL has gone away ends all the same when it is told to; the next one goes on with what it could not store."""
import os
import signal
import unittest

from on_postgresql import PostgresqlServerTest


class DatabaseAway(PostgresqlServerTest):
    # decisions E-52
    def test_a_shutdown_waits_for_tasks_but_not_for_the_database(self):
        server = self.one()
        self.push(server, w=f'+a:\n  sh>: echo $$ >> {self.project}/ran; until test -e {self.project}/go; do sleep 0.05; done\n+b:\n  echo>: b\n')
        attempt = self.start_attempt(server, 'w')
        self.wait_for('the command', lambda: self.exists('ran'))
        self.databases.halt('immediate')
        try:
            server.process.send_signal(signal.SIGTERM)
            self.file('go', '')
            log = server.process.communicate(timeout=60)[0].decode()
        finally:
            self.databases.start()
        self.assertEqual(server.process.returncode, 143, log)
        self.assertIn('The database does not answer', log)
        self.assertTrue(log.rstrip().endswith('Shutdown completed'), log)
        self.wait_for_status(self.one(), attempt, 'success')
        self.assertEqual(len(self.lines('ran')), 2, 'its end was not stored')

    # execution 32.78, 32.82
    def test_what_ends_while_it_is_away_counts_when_it_is_back(self):
        server = self.one()
        gated = f'+a:\n  sh>: echo $$ >> {self.project}/ran; until test -e {self.project}/go; do sleep 0.05; done\n'
        self.push(server, w=gated + f'+b:\n  sh>: echo b >> {self.project}/ran\n', last=gated)
        attempt = self.start_attempt(server, 'w')
        self.wait_for('the command', lambda: self.exists('ran'))
        last = self.start_attempt(server, 'last')
        self.wait_for('both commands', lambda: len(self.lines('ran')) == 2)
        shells = self.lines('ran')
        self.databases.halt('immediate')
        try:
            self.file('go', '')
            self.wait_for('the end of the commands', lambda: not any(os.path.exists(f'/proc/{shell}') for shell in shells))
        finally:
            self.databases.start()
        for one in (attempt, last):
            self.wait_for_status(server, one, 'success')
        self.assertEqual(self.lines('ran'), [*shells, 'b'], 'each has run once')
        self.assertEqual(self.sql('select (select count(*) from tasks), (select count(*) from task_archives)'), '0|2')

    def test_one_that_has_nothing_to_do_ends_too(self):
        server = self.one()
        self.wait_for('the begin', lambda: server.get('/api/ready').status == 200)
        self.databases.halt('immediate')
        try:
            code, log, _ = server.end()
        finally:
            self.databases.start()
        self.assertEqual(code, 143, log)


if __name__ == '__main__':
    unittest.main()
