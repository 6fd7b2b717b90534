"""The schema that we make, and that we bring up to date, beside the original's own (spec/server.md 10, 11; spec/decisions.md V-40 … V-42)."""
import gzip
import os
import re
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(ROOT, 'tests/cli')]
from program import ProgramTest  # noqa: E402
from server import Server  # noqa: E402

# What the original left behind on a real server, where it is at hand; else a database of our own stands in for it.
DUMP = os.path.join(os.path.dirname(ROOT), 'shared/upstream-db/dump.sql.gz')
# What pg_catalog says of that one.
RECORDED = os.path.join(HERE, 'original_catalog.txt')

# Everything that pg_catalog knows of the tables, our additions aside.
CATALOG = r"""
select 'column', c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid)
from pg_class c join pg_attribute a on a.attrelid = c.oid left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and a.attnum > 0 and not a.attisdropped;
select 'index', pg_get_indexdef(i.indexrelid), i.indisunique, i.indisprimary, i.indisvalid
from pg_index i join pg_class c on c.oid = i.indrelid where c.relnamespace = 'public'::regnamespace;
select 'constraint', conrelid::regclass, conname, pg_get_constraintdef(oid) from pg_constraint where connamespace = 'public'::regnamespace;
select 'sequence', seqrelid::regclass, seqtypid::regtype, seqstart, seqincrement, seqmax, seqcycle,
  (select refobjid::regclass || '.' || refobjsubid from pg_depend where objid = seqrelid and deptype = 'a') from pg_sequence;
select 'function', proname, pg_get_function_arguments(oid), pg_get_function_result(oid), provolatile, prolang, md5(prosrc)
from pg_proc where pronamespace = 'public'::regnamespace and proname not like 'uuid%';
select 'migration', name from schema_migrations;
"""
OWN = re.compile(r'digdag_native_|\|(lease|native|skipped_until|waiting_since|in_turn)\|')

# Back to what each migration found, from the last one to the first.
UNDO = {
    '20221021035534': 'drop table project_metadata',
    '20200803184355': 'drop index session_attempts_on_state_flags_and_created_at_partial; create index '
                      'session_attempts_on_state_flags_and_created_at on session_attempts (created_at, id) where state_flags = 0',
    '20200716114008': 'drop index sessions_on_last_attempt_id',
    '20191105105927': 'drop index sessions_on_project_id_and_workflow_name_desc',
    '20190318175338': 'drop index session_attempts_on_site_id_and_state_flags_partial_2',
    '20170223220127': 'alter table sessions drop column last_attempt_created_at',
    '20170116090744': 'drop index session_attempts_on_session_id_and_index; alter table session_attempts alter column index drop not null; '
                      'update session_attempts set index = null',
    '20170116082921': 'alter table session_attempts drop column index',
    '20161209001857': 'drop table delayed_session_attempts',
    '20161110112233': 'alter table tasks drop column started_at',
    '20161028112233': 'drop index session_attempts_on_state_flags_and_created_at',
    '20161005225356': 'alter table task_state_details drop column reset_store_params; alter table resuming_tasks drop column reset_store_params',
    '20160928203753': 'drop index workflow_definitions_on_revision_id_and_id; drop index projects_on_site_id_and_id',
    '20160926123456': 'alter table schedules drop column disabled_at; create index schedules_on_next_run_time on schedules (next_run_time)',
    '20160908175551': 'drop index secrets_unique_on_site_id_and_project_id_and_scope_and_key; create index '
                      'secrets_on_site_id_and_project_id_and_scope_and_key on secrets (site_id, project_id, scope, key)',
    '20160818220026': 'drop index queued_tasks_on_queue_id_unique_name; drop index queued_tasks_on_site_id_unique_name; delete from queued_tasks '
                      "where unique_name like '%r%'; alter table queued_tasks alter column unique_name drop not null, alter column unique_name "
                      'type bigint using unique_name::bigint; alter table queued_tasks rename column unique_name to task_id; create unique index '
                      'queued_tasks_on_queue_id_task_id on queued_tasks (queue_id, task_id); create unique index queued_tasks_on_site_id_task_id '
                      'on queued_tasks (site_id, task_id); alter table tasks drop column retry_count',
    '20160818043815': 'alter table session_attempts drop column finished_at',
    '20160817123456': 'drop table secrets',
    '20160719172538': 'drop function lock_shared_tasks; drop table queued_task_locks; create table queued_task_locks (id bigint); create table '
                      'queued_shared_task_locks (id bigint); create table resource_types (id int); drop index queued_tasks_on_site_id_task_id; alter '
                      'table queues drop column shared_site_id; alter table queued_tasks add column priority int not null default 7, add column '
                      'resource_type_id int',
    '20160623123456': 'alter table revisions drop column user_info',
    '20160610154832': 'alter table projects drop column deleted_at, drop column deleted_name',
    '20160602184025': 'drop table resuming_tasks; alter table task_details drop column resuming_task_id',
    '20160602123456': 'drop index sessions_on_project_id_desc; create index sessions_on_project_id on sessions (project_id, id)',
}


def sorted_lines(text):
    return sorted(line for line in text.split('\n') if line and not OWN.search(line))


def without_places(lines):
    """Columns that were dropped and made again have other numbers."""
    return sorted(re.sub(r'^(column\|\w+\|)\d+', r'\1', re.sub(r'(_id_seq\|.*\w)\.\d+$', r'\1', line)) for line in lines)


class SchemaTest(ProgramTest):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.addClassCleanup(cls.server.stop)
        cls.server.create('original')
        if os.path.exists(DUMP):
            with gzip.open(DUMP, 'rt', encoding='utf-8') as dump:
                cls.server.psql('original', dump.read())

    def setUp(self):
        super().setUp()
        if not os.path.exists(DUMP):
            self.migrate('run', 'original')
            self.server.psql('original', 'drop table digdag_native_attempts, digdag_native_events, digdag_native_servers, digdag_native_commits, '
                             'digdag_native_triggers, digdag_native_triggered_starts, digdag_native_migrations; alter table queued_task_locks drop column lease; alter table tasks drop column native; '
                             'alter table schedules drop column skipped_until; alter table schedules drop column waiting_since; alter table session_attempts drop column native; alter table delayed_session_attempts drop column in_turn')

    def catalog(self, database):
        return sorted_lines(self.server.psql(database, CATALOG))

    def migrate(self, word, database):
        settings = self.file(f'{database}.properties', self.server.settings(database))
        done = self.digdag('migrate', word, '-c', settings)
        self.assertEqual(done.code, 0, done.err)
        return done.out

    def copy(self, database):
        self.server.psql('postgres', f'create database {database} template original')

    def rows(self, database):
        tables = self.server.psql('original', "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'").split()
        return {table: self.server.psql(database, f'select * from {table} order by 1') for table in tables}

    # server 23.33
    def test_a_new_database_has_the_schema_of_the_original(self):
        self.server.create('fresh')
        self.assertEqual(self.migrate('check', 'fresh'), 'No table exist\n')
        self.assertEqual(self.migrate('run', 'fresh'), 'Migrations successfully finished\n')
        self.assertEqual(self.migrate('check', 'fresh'), 'No update\n')
        with open(RECORDED, encoding='utf-8') as recorded:
            original = recorded.read().split('\n')[:-1]
        self.assertEqual(self.catalog('fresh'), sorted(line.replace('uuid_generate_v4()', 'gen_random_uuid()') for line in original))
        if os.path.exists(DUMP):
            self.assertEqual(self.catalog('original'), original)

    # server 23.34
    def test_a_database_of_the_original_is_taken_over_as_it_is(self):
        self.copy('taken')
        before = self.rows('taken')
        self.assertEqual(self.migrate('check', 'taken'), '20261121000000\n')
        self.assertEqual(self.migrate('run', 'taken'), 'Migrations successfully finished\n')
        self.assertEqual(self.migrate('run', 'taken'), 'No update\n')
        self.assertEqual(self.catalog('taken'), self.catalog('original'))
        additions = {'queued_task_locks': 1, 'tasks': 1, 'schedules': 2, 'session_attempts': 1, 'delayed_session_attempts': 1}
        after = self.rows('taken')
        for table, text in before.items():
            rows = [line + '|' * additions.get(table, 0) for line in text.split('\n') if line]
            self.assertEqual([line for line in after[table].split('\n') if line], rows)

    def test_a_database_of_any_older_version_becomes_the_same(self):
        self.copy('older')
        undone = []
        for name, undo in UNDO.items():
            self.server.psql('older', f"{undo}; delete from schema_migrations where name = '{name}'")
            undone.insert(0, name)
            if name not in ('20170223220127', '20160908175551', '20160719172538', '20160602123456'):
                continue
            database = f'older{len(undone)}'
            self.server.psql('postgres', f'create database {database} template older')
            self.assertEqual(self.migrate('check', database).split(), [*undone, '20261121000000'])
            self.assertEqual(self.migrate('run', database), 'Migrations successfully finished\n')
            self.assertEqual(without_places(self.catalog(database)), without_places(self.catalog('original')))
            values = 'select id, session_id, index from session_attempts order by id; select id, last_attempt_created_at from sessions order by id'
            self.assertEqual(self.server.psql(database, values), self.server.psql('original', values))
            if len(undone) > 15 and os.path.exists(DUMP):
                locks = self.server.psql(database, 'select count(*), min(priority) from queued_task_locks join queued_tasks using (id)')
                self.assertRegex(locks, r'^[1-9]\d*\|7$')


if __name__ == '__main__':
    unittest.main()
