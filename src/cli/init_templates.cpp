#include "cli/init_templates.h"

#include <algorithm>

namespace digdag::cli {
namespace {

const char* const echo_workflow = R"(timezone: UTC

+setup:
  echo>: start ${session_time}

+disp_current_date:
  echo>: ${moment(session_time).utc().format('YYYY-MM-DD HH:mm:ss Z')}

+repeat:
  for_each>:
    order: [first, second, third]
    animal: [dog, cat]
  _do:
    echo>: ${order} ${animal}
  _parallel: true

+teardown:
  echo>: finish ${session_time}
)";

const char* const sh_workflow = R"(timezone: UTC

+setup:
  sh>: echo start ${session_time}

+disp_current_date:
  sh>: date

+repeat:
  for_each>:
    order: [first, second, third]
    animal: [dog, cat]
  _do:
    sh>: scripts/myscript.sh ${order} ${animal}
  _parallel: false

+teardown:
  sh>: echo finish ${session_time}
)";

const char* const sh_script = R"(#!/bin/sh

echo "$1 $2"
)";

const char* const ruby_workflow = R"(timezone: UTC

_export:
  rb:
    require: 'scripts/myclass'

+setup:
  echo>: start ${session_time}

+disp_current_date:
  rb>: MyClass.disp_current_date

+repeat:
  for_each>:
    order: [first, second, third]
    animal: [dog, cat]
  _do:
    rb>: MyClass.show
  _parallel: true

+teardown:
  echo>: finish ${session_time}
)";

const char* const ruby_class = R"(class MyClass
  def disp_current_date
    puts "ruby: #{Time.now}"
  end

  def show(order, animal)
    puts "ruby: #{order} #{animal}"
  end
end
)";

const char* const python_workflow = R"(timezone: UTC

+setup:
  echo>: start ${session_time}

+disp_current_date:
  py>: scripts.myclass.MyClass.disp_current_date

+repeat:
  for_each>:
    order: [first, second, third]
    animal: [dog, cat]
  _do:
    py>: scripts.myclass.MyClass.show
  _parallel: false

+teardown:
  echo>: finish ${session_time}
)";

const char* const python_class = R"(from datetime import datetime


class MyClass(object):
    def disp_current_date(self):
        print("python: {}".format(datetime.now()))

    def show(self, order, animal):
        print("python: {} {}".format(order, animal))
)";

const char* const td_workflow = R"(timezone: UTC

_export:
  td:
    database: sample_datasets

+caution:
  echo>: Create the database `my_db` before you run this workflow

+query:
  td>: queries/query.sql
  create_table: my_db.nasdaq_summary_${session_date_compact}
)";

const char* const td_query = R"(SELECT
  symbol,
  MIN(low) AS low,
  MAX(high) AS high
FROM nasdaq
GROUP BY symbol
)";

const char* const postgresql_workflow = R"(timezone: UTC

_export:
  pg:
    host: localhost
    user: pg
    database: mydb

+caution:
  echo>: Set the parameters below `pg` before you run this workflow

+create_src_table:
  pg>: queries/create_src_table.sql

+insert_data_to_src_table:
  pg>: queries/insert_data_to_src_table.sql

+summarize_src_table:
  pg>: queries/summarize_src_table.sql
  create_table: summary_${session_date_compact}
)";

const char* const postgresql_create = R"(DROP TABLE IF EXISTS access_log;
CREATE TABLE access_log (id INT, user_name TEXT, path TEXT);
)";

const char* const postgresql_insert = R"(INSERT INTO access_log (id, user_name, path) VALUES
  (1, 'alice', '/'),
  (2, 'bob', '/about'),
  (3, 'alice', '/about');
)";

const char* const postgresql_summarize = R"(SELECT user_name, count(*) AS visits
FROM access_log
GROUP BY user_name
)";

}  // namespace

const ProjectType* find_project_type(std::string_view name) {
  static const std::vector<ProjectType> types = {
      {"echo", {}, echo_workflow},
      {"sh", {{"scripts/myscript.sh", sh_script, true}}, sh_workflow, false, "sh"},
      {"ruby", {{"scripts/myclass.rb", ruby_class}}, ruby_workflow, false, "rb"},
      {"python", {{"scripts/__init__.py", ""}, {"scripts/myclass.py", python_class}}, python_workflow, false, "py"},
      {"td", {{"queries/query.sql", td_query}}, td_workflow, true, "td"},
      {"postgresql",
       {{"queries/create_src_table.sql", postgresql_create},
        {"queries/insert_data_to_src_table.sql", postgresql_insert},
        {"queries/summarize_src_table.sql", postgresql_summarize}},
       postgresql_workflow,
       false,
       "pg"},
  };
  const auto found = std::find_if(types.begin(), types.end(), [&](const ProjectType& type) { return type.name == name; });
  return found == types.end() ? nullptr : &*found;
}

}  // namespace digdag::cli
