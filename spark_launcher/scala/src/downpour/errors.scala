package downpour

import scala.util.matching.Regex

/** A training job that did not end well; the message says why. */
class TrainingFailed(message: String, cause: Throwable = null) extends RuntimeException(message, cause)

/** Rows or columns that cannot be trained on; the message names the column, and the row where there is one. */
class DataError(message: String, cause: Throwable = null) extends TrainingFailed(message, cause)

/** A predictor that did not start or did not end well; the message says why. */
class PredictionFailed(message: String, cause: Throwable = null) extends TrainingFailed(message, cause)

/** A partition's worker that failed.
  *
  * @param partition which one
  * @param attempt "stage.task", as the servers know it
  * @param host where it ran
  * @param status its exit status; negative for a signal; none if it never ran
  * @param reason one sentence
  * @param hint the likely cause or what to try, or ""
  * @param logTail the last lines of its log
  */
class WorkerFailed(val partition: Int, val attempt: String, val host: String, val status: Option[Int],
                   val reason: String, val hint: String, val logTail: Seq[String], cause: Throwable = null)
    extends TrainingFailed(WorkerFailed.message(partition, attempt, host, status, reason, hint, logTail), cause) {

  /** Whether it comes from the end of a server, or of another worker that holds parameters. */
  def follows: Boolean = status.contains(ExitStatus.LostAnother)

  /** Whether the same job may do better when it is started again. */
  def avoidable: Boolean = status.exists(!ExitStatus.Wrong(_))

  /** The same failure with one more hint, or with the error that brought it to the driver. */
  def withHint(more: String): WorkerFailed =
    new WorkerFailed(partition, attempt, host, status, reason, Seq(hint, more).filter(_.nonEmpty).mkString("; "),
                     logTail, getCause)

  def withCause(error: Throwable): WorkerFailed =
    new WorkerFailed(partition, attempt, host, status, reason, hint, logTail, error)

  /** All of it on one line, for `fromText`. */
  def toLine: String =
    WorkerFailed.Mark + Json.write(Seq[Any](partition, attempt, host, status.map(Int.box).orNull, reason, hint,
                                            logTail))
}

object WorkerFailed {
  private val Mark = "downpour-failure: "
  private val Line = (Regex.quote(Mark) + """(\[.*\])""").r
  private val MostOfALine = 300

  def apply(identity: Identity, status: Option[Int], reason: String, hint: String = "",
            logTail: Seq[String] = Nil): WorkerFailed =
    new WorkerFailed(identity.partition, identity.attempt, Host.name, status, reason, hint,
                     logTail.takeRight(Tail.Lines).map(_.take(MostOfALine)))

  /** The first failure that a text, such as a Spark error, carries: Spark brings a task's exception to the driver as
    * text only where its stage is a barrier.
    */
  def fromText(text: String): Option[WorkerFailed] =
    Line.findFirstMatchIn(text).flatMap { found =>
      Json.read(found.group(1)) match {
        case Some(Seq(partition: Number, attempt: String, host: String, status, reason: String, hint: String,
                      tail: Seq[_])) =>
          val number = Option(status).collect { case n: Number => n.intValue }
          Some(new WorkerFailed(partition.intValue, attempt, host, number, reason, hint, tail.map(String.valueOf)))
        case _ => None
      }
    }

  private def message(partition: Int, attempt: String, host: String, status: Option[Int], reason: String, hint: String,
                      logTail: Seq[String]): String = {
    val how = status.fold("")(number => if (number < 0) s" (signal ${-number})" else s" (exit status $number)")
    (Seq(s"worker of partition $partition on $host, attempt $attempt, failed: $reason$how") ++
      Option.when(hint.nonEmpty)("likely cause: " + hint) ++
      Option.when(logTail.nonEmpty)("its last log lines:") ++
      logTail.map("    " + _)).mkString("\n")
  }
}

/** What a Spark task throws for a WorkerFailed: the same message, and the line from which the driver restores it. */
class TaskFailed(val failure: WorkerFailed) extends RuntimeException(failure.getMessage + "\n" + failure.toLine)
