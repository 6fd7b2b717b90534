#pragma once

#include <libpq-fe.h>

namespace digdag::store {

/// The functions of libpq that are used, looked up when the first connection is made: the binary does not link the library, so its
/// start does not pay for it.
struct Libpq {
  decltype(&PQconnectStartParams) connectStartParams;
  decltype(&PQconnectPoll) connectPoll;
  decltype(&PQconndefaults) conndefaults;
  decltype(&PQconninfoFree) conninfoFree;
  decltype(&PQfinish) finish;
  decltype(&PQstatus) status;
  decltype(&PQsocket) socket;
  decltype(&PQserverVersion) serverVersion;
  decltype(&PQparameterStatus) parameterStatus;
  decltype(&PQerrorMessage) errorMessage;
  decltype(&PQsetnonblocking) setnonblocking;
  decltype(&PQenterPipelineMode) enterPipelineMode;
  decltype(&PQpipelineSync) pipelineSync;
  decltype(&PQsendFlushRequest) sendFlushRequest;
  decltype(&PQsendPrepare) sendPrepare;
  decltype(&PQsendQueryPrepared) sendQueryPrepared;
  decltype(&PQflush) flush;
  decltype(&PQconsumeInput) consumeInput;
  decltype(&PQisBusy) isBusy;
  decltype(&PQgetResult) getResult;
  decltype(&PQsetNoticeReceiver) setNoticeReceiver;
  decltype(&PQresultStatus) resultStatus;
  decltype(&PQresultErrorField) resultErrorField;
  decltype(&PQcmdTuples) cmdTuples;
  decltype(&PQntuples) ntuples;
  decltype(&PQnfields) nfields;
  decltype(&PQftype) ftype;
  decltype(&PQfname) fname;
  decltype(&PQgetisnull) getisnull;
  decltype(&PQgetlength) getlength;
  decltype(&PQgetvalue) getvalue;
  decltype(&PQnotifies) notifies;
  decltype(&PQfreemem) freemem;
  decltype(&PQclear) clear;
};

/// Loaded once. Error(kind "io") `a PostgreSQL database needs libpq.so.5; install the package libpq5`. Thread-safe.
const Libpq& libpq();

}  // namespace digdag::store
