#include "store/postgresql_library.h"

#include "base/library.h"

namespace digdag::store {
namespace {

Libpq load() {
  const Library library("libpq.so.5", "a PostgreSQL database needs", "libpq5");
  Libpq functions{};
  library.find(functions.connectStartParams, "PQconnectStartParams");
  library.find(functions.connectPoll, "PQconnectPoll");
  library.find(functions.conndefaults, "PQconndefaults");
  library.find(functions.conninfoFree, "PQconninfoFree");
  library.find(functions.finish, "PQfinish");
  library.find(functions.status, "PQstatus");
  library.find(functions.socket, "PQsocket");
  library.find(functions.serverVersion, "PQserverVersion");
  library.find(functions.parameterStatus, "PQparameterStatus");
  library.find(functions.errorMessage, "PQerrorMessage");
  library.find(functions.setnonblocking, "PQsetnonblocking");
  library.find(functions.enterPipelineMode, "PQenterPipelineMode");
  library.find(functions.pipelineSync, "PQpipelineSync");
  library.find(functions.sendFlushRequest, "PQsendFlushRequest");
  library.find(functions.sendPrepare, "PQsendPrepare");
  library.find(functions.sendQueryPrepared, "PQsendQueryPrepared");
  library.find(functions.flush, "PQflush");
  library.find(functions.consumeInput, "PQconsumeInput");
  library.find(functions.isBusy, "PQisBusy");
  library.find(functions.getResult, "PQgetResult");
  library.find(functions.setNoticeReceiver, "PQsetNoticeReceiver");
  library.find(functions.resultStatus, "PQresultStatus");
  library.find(functions.resultErrorField, "PQresultErrorField");
  library.find(functions.cmdTuples, "PQcmdTuples");
  library.find(functions.ntuples, "PQntuples");
  library.find(functions.nfields, "PQnfields");
  library.find(functions.ftype, "PQftype");
  library.find(functions.fname, "PQfname");
  library.find(functions.getisnull, "PQgetisnull");
  library.find(functions.getlength, "PQgetlength");
  library.find(functions.getvalue, "PQgetvalue");
  library.find(functions.notifies, "PQnotifies");
  library.find(functions.freemem, "PQfreemem");
  library.find(functions.clear, "PQclear");
  return functions;
}

}  // namespace

const Libpq& libpq() {
  static const Libpq functions = load();
  return functions;
}

}  // namespace digdag::store
