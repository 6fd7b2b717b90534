#include "store/attempt_events.h"

namespace digdag::store {

void insert_kill(Transaction& transaction, std::int64_t attempt_id) {
  transaction.send("insert into digdag_native_events (attempt_id, kind) values ($1, 'kill')", {attempt_id}, 1);
}

}  // namespace digdag::store
