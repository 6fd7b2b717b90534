#include "store/secrets.h"

#include "base/error.h"

namespace digdag::store {

const SecretCipher& Secrets::cipher() const {
  if (cipher_ == nullptr) throw config_error("Secrets are disabled: digdag.secret-encryption-key is not set on this server");
  return *cipher_;
}

std::vector<std::string> Secrets::keys(std::int64_t project_id, std::string_view scope) {
  std::vector<std::string> keys;
  for (const Row& row : transaction_.query("select key from secrets where site_id = $1 and project_id = $2 and scope = $3 order by key",
                                           {site_id_, project_id, std::string(scope)})) {
    keys.push_back(row.text(0));
  }
  return keys;
}

void Secrets::put(std::int64_t project_id, std::string_view key, std::string_view value, std::string_view scope) {
  transaction_.send(
      "insert into secrets (site_id, project_id, scope, engine, key, value, updated_at) values ($1, $2, $3, $4, $5, $6, now())"
      " on conflict (site_id, project_id, scope, key)"
      " do update set engine = excluded.engine, value = excluded.value, updated_at = excluded.updated_at",
      {site_id_, project_id, std::string(scope), std::string(cipher().engine()), std::string(key), cipher().encrypt(value)});
}

void Secrets::remove(std::int64_t project_id, std::string_view key, std::string_view scope) {
  transaction_.send("delete from secrets where site_id = $1 and project_id = $2 and scope = $3 and key = $4",
                    {site_id_, project_id, std::string(scope), std::string(key)});
}

std::optional<std::string> Secrets::find(std::int64_t project_id, std::string_view key) {
  // The shorter scope, `project`, comes first.
  const std::optional<Row> row = transaction_.first(
      "select engine, value from secrets where site_id = $1 and project_id = $2 and key = $3 and scope in ('project', 'project-default')"
      " order by length(scope) limit 1",
      {site_id_, project_id, std::string(key)});
  if (!row) return std::nullopt;
  return cipher().decrypt(key, row->text(0), row->text(1)).value;
}

std::optional<std::string> secret_of_project(Transaction& transaction, const SecretCipher* cipher, std::int64_t project_id,
                                             std::string_view key) {
  const auto site = transaction.first("select site_id from projects where id = $1", {project_id});
  return site ? Secrets(transaction, cipher, site->integer(0)).find(project_id, key) : std::nullopt;
}

Rotation rotate_secrets(Transaction& transaction, const SecretCipher& cipher, std::int64_t after_id) {
  constexpr std::int64_t step = 100;
#define STEP "select id, key, engine, value from secrets where id > $1 order by id limit 100"
  static constexpr Sql sql(STEP " for update", STEP);
#undef STEP
  Rotation rotation{.last_id = after_id};
  const Rows rows = transaction.query(sql, {after_id});
  for (const Row& row : rows) {
    rotation.last_id = row.integer(0);
    const SecretCipher::Decrypted secret = cipher.decrypt(row.text(1), row.text(2), row.text(3));
    if (secret.with_current_key) continue;
    transaction.send("update secrets set engine = $1, value = $2, updated_at = now() where id = $3",
                     {std::string(cipher.engine()), cipher.encrypt(secret.value), row.integer(0)}, 1);
    ++rotation.rotated;
  }
  rotation.done = static_cast<std::int64_t>(rows.size()) < step;
  return rotation;
}

}  // namespace digdag::store
