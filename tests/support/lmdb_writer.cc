#include "tests/support/lmdb_writer.h"

#include <lmdb.h>

#include <cstdio>

namespace downpour::tests {

bool WriteLmdb(const std::string& path, const std::vector<std::string>& records) {
  constexpr std::size_t kMapBytes = std::size_t{64} << 20;
  MDB_env* env = nullptr;
  MDB_txn* txn = nullptr;
  MDB_dbi table = 0;
  bool good = mdb_env_create(&env) == 0 && mdb_env_set_mapsize(env, kMapBytes) == 0 &&
              mdb_env_open(env, path.c_str(), MDB_NOSUBDIR | MDB_NOLOCK, 0600) == 0 &&
              mdb_txn_begin(env, nullptr, 0, &txn) == 0 && mdb_dbi_open(txn, nullptr, 0, &table) == 0;
  for (std::size_t i = 0; good && i < records.size(); ++i) {
    char key[24];
    std::snprintf(key, sizeof(key), "%08zu", i);
    MDB_val name{8, key}, value{records[i].size(), const_cast<char*>(records[i].data())};
    good = mdb_put(txn, table, &name, &value, 0) == 0;
  }
  good = good && mdb_txn_commit(txn) == 0;
  if (env != nullptr) mdb_env_close(env);
  return good;
}

}  // namespace downpour::tests
