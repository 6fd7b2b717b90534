#!/usr/bin/env python3
"""A server of the original on the same PostgreSQL database: as far as it can be seen, by the tasks that it has locked."""
import time
import unittest

from on_postgresql import PostgresqlServerTest


# decisions V-43
class JavaServer(PostgresqlServerTest):
    lives = 'another digdag server is running on this database: agent 4711@java'

    def lock(self, expires_in):
        """As the original takes a task from the queue, or renews it."""
        self.sql(f"insert into queued_tasks (id, site_id, unique_name, created_at) values (1, 0, '1', now()) on conflict do nothing; "
                 f"insert into queued_task_locks (id, site_id, priority, lock_agent_id, lock_expire_time) values (1, 0, 0, '4711@java', "
                 f"{int(time.time()) + expires_in}) on conflict (id) do update set lock_expire_time = excluded.lock_expire_time")

    def unlock(self):
        self.sql('delete from queued_task_locks; delete from queued_tasks')

    def kill(self, server):
        """Changes something; 404 where that is allowed."""
        return server.send('POST', '/api/attempts/4711/kill', {}).status

    def ready(self, server):
        return server.get('/api/ready').status == 200

    def with_schema(self):
        self.digdag('migrate', 'run', *self.config(self.databases.settings(self.name)))

    def test_what_it_has_locked_is_waited_for(self):
        self.with_schema()
        self.lock(3600)
        server = self.one()
        answer = server.send('POST', '/api/attempts/4711/kill', {})
        self.assertEqual(answer.status, 503, 'also to who asks as soon as it listens')
        self.assertIn('Another digdag server', answer.message)
        self.assertEqual(server.get('/api/projects').status, 200)
        self.assertFalse(self.ready(server))
        self.lock(-1)
        self.wait_for('the begin', lambda: self.ready(server))
        self.assertEqual(self.kill(server), 404)
        _, log, _ = server.end()
        self.assertIn('locked by the agent 4711@java', log)
        self.assertIn('1 task locks are expired', log)

    def test_a_lock_that_is_renewed_shows_that_it_lives(self):
        self.with_schema()
        self.lock(3600)
        server = self.one('-L', f'{self.project}/log')
        self.wait_for('the refusal', lambda: self.kill(server) == 503)
        self.lock(7200)
        self.wait_for('the error', lambda: self.lives in self.content('log'))
        self.unlock()
        self.wait_for('the begin', lambda: self.ready(server))

    def test_take_over_does_not_wait(self):
        self.with_schema()
        self.lock(3600)
        server = self.one('--take-over')
        self.wait_for('the begin', lambda: self.ready(server))
        self.assertEqual(self.sql('select lock_expire_time is null, retry_count from queued_task_locks'), 't|1')

    def test_one_that_is_started_later_is_seen(self):
        server = self.one()
        self.push(server, w=f'+a:\n  sh>: touch {self.project}/ran\n')
        self.wait_for('the begin', lambda: self.ready(server))
        self.lock(3600)
        self.wait_for('the refusal', lambda: self.kill(server) == 503)
        self.unlock()
        self.wait_for('the end of it', lambda: self.kill(server) == 404)
        self.wait_for_status(server, self.start_attempt(server, 'w'), 'success')
        _, log, _ = server.end()
        self.assertIn(self.lives, log)


if __name__ == '__main__':
    unittest.main()
