#include "schedule/pushed_triggers.h"

#include <algorithm>
#include <set>

#include "base/config.h"
#include "base/error.h"
#include "store/triggers.h"

namespace digdag::schedule {

namespace {

std::string shown(const store::WorkflowName& name) { return name.first + "/" + name.second; }

/// A workflow that would start itself, by whatever others.
void refuse_cycles(const std::vector<store::Trigger>& triggers, const std::string& project) {
  std::map<store::WorkflowName, store::WorkflowName> upstream_of;
  for (const store::Trigger& trigger : triggers) upstream_of.emplace(trigger.workflow, trigger.upstream);
  std::set<store::WorkflowName> known;  // to lead into no cycle
  for (const store::Trigger& trigger : triggers) {
    if (trigger.workflow.first != project) continue;
    std::vector<store::WorkflowName> chain;
    for (const store::WorkflowName* at = &trigger.workflow; known.insert(*at).second;) {
      chain.push_back(*at);
      const auto next = upstream_of.find(*at);
      if (next == upstream_of.end()) break;
      at = &next->second;
      const auto begin = std::find(chain.begin(), chain.end(), *at);
      if (begin == chain.end()) continue;
      std::string text;
      for (auto one = begin; one != chain.end(); ++one) text += shown(*one) + " starts after ";
      throw config_error("The triggers of workflows form a cycle: " + text + shown(*at));
    }
  }
}

}  // namespace

PushedTriggers::PushedTriggers(const std::vector<PushedWorkflow>& workflows) {
  for (const PushedWorkflow& workflow : workflows) {
    const Value* trigger = workflow.config.find("trigger");
    if (trigger == nullptr) continue;
    const Config config(*trigger);
    entries_.push_back({workflow.name, config.optional_string("dependent_project_name"), config.string("dependent_workflow_name")});
  }
}

void PushedTriggers::apply(store::Transaction& transaction, const store::Project& project,
                           const std::map<std::string, std::int64_t, std::less<>>& definition_ids) const {
  std::vector<store::NewTrigger> triggers;
  for (const Entry& entry : entries_) {
    if (entry.upstream_project && !store::Projects(transaction, project.site_id).by_name(*entry.upstream_project))
      throw config_error("Dependent project '" + *entry.upstream_project + "' not found in trigger config (of workflow '" + entry.workflow +
                         "')");
    triggers.push_back({definition_ids.at(entry.workflow), {entry.upstream_project.value_or(project.name), entry.upstream_workflow}});
  }
  store::replace_triggers(transaction, project, triggers);
  if (!triggers.empty()) refuse_cycles(store::lock_triggers(transaction, project.site_id), project.name);
}

}  // namespace digdag::schedule
