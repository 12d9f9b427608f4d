package downpour

import java.io.IOException
import java.net.{InetSocketAddress, Socket}
import java.nio.file.Path
import java.util.concurrent.ConcurrentHashMap

import scala.util.Using

/** Which try at which partition a worker is. A later try has a greater pair of stage and task attempt. */
private[downpour] final case class Identity(partition: Int, stageAttempt: Long = 0, taskAttempt: Long = 0) {
  def attempt: String = s"$stageAttempt.$taskAttempt"
}

/** Where workers that hold shards meet, and where this one's are to listen. */
private[downpour] final case class Meeting(rendezvous: String, listen: String)

private[downpour] object Meeting {
  private val TimeoutMs = 30000

  /** The meeting for a worker on this host: it listens on the address by which this host reaches the rendezvous.
    *
    * IOException if that can't be reached.
    */
  def at(rendezvous: String): Meeting = Using.resource(new Socket) { socket =>
    val colon = rendezvous.lastIndexOf(':')
    val host = rendezvous.take(colon).stripPrefix("[").stripSuffix("]")
    socket.connect(new InetSocketAddress(host, rendezvous.drop(colon + 1).toInt), TimeoutMs)
    Meeting(rendezvous, Placement.anyPortAt(socket))
  }
}

/** Runs one worker: started by the constructor, fed, listened to, and gone once this is closed (worker/CONTRACT.md).
  *
  * Its standard input is the feed, so that it ends with this JVM. All calls come from one thread; another watches that
  * the worker takes what it is fed, and that its task still runs. Failures are thrown as WorkerFailed.
  *
  * @param program path of ps-worker
  * @param config path of the job file
  * @param servers "host:port" of each server, in the job's order; none where the shards live in the workers
  * @param meeting where the shards live in the workers: how this one meets the others
  * @param memoryBytes what the worker may take of memory; none for what its net and the job's keys come to
  * @param spoolFolder for rows that have no room in memory, where the job names no folder
  * @param logFile where the worker writes its log
  * @param stallSeconds a worker that takes no byte of the feed for so long, while it could, has failed; one that says
  *     that it waits for another attempt at its partition could not
  * @param cancelled whether nobody wants the result any more: the worker is ended then
  */
private[downpour] final class WorkerProcess(program: String, config: Path, servers: Seq[String], identity: Identity,
                                            meeting: Option[Meeting], memoryBytes: Option[Long], spoolFolder: Path,
                                            logFile: Path, stallSeconds: Double, cancelled: () => Boolean)
    extends FrameSink with AutoCloseable {
  import WorkerProcess._

  private val noise = new Tail // standard error, and lines of output that are no events
  private val ending = new ConcurrentHashMap[String, Map[String, Any]] // the events `done` and `failed`
  private val process = start()
  private val feed = process.getOutputStream
  private val readers = Seq(Child.onLines("downpour-events", process.getInputStream)(event),
                            Child.onLines("downpour-noise", process.getErrorStream)(noise += _))
  // Since when a write has been waiting, in nanoseconds; 0 while there is none.
  @volatile private var waitingSince = 0L
  @volatile private var waited = 0L // when it last said that it waits for another attempt at its partition
  @volatile private var stalled = false
  @volatile private var ended = false // it has ended well without wanting more
  private val watch = Child.onThread("downpour-watch")(watchOver())

  /** Writes a part of the feed, as the worker accepts it. */
  override def write(bytes: Array[Byte], length: Int): Unit = if (!ended) {
    var at = 0
    try while (at < length) {
      val count = math.min(PipeBytes, length - at)
      waitingSince = System.nanoTime()
      feed.write(bytes, at, count)
      feed.flush()
      at += count
    } catch {
      case _: IOException => brokenFeed()
    } finally waitingSince = 0
  }

  /** Waits for the worker to end by itself; gives its `done` event. The feed stays open until then.
    *
    * A worker that holds shards stays up after that event, for as long as somebody needs them.
    */
  def finish(): Map[String, Any] = {
    process.waitFor()
    outcome()
  }

  override def close(): Unit = {
    Child.end(process, GraceSeconds)
    watch.join((GraceSeconds * 1000).toLong)
    awaitReaders()
  }

  private def start(): Process = {
    val where = meeting.fold(Seq("--servers", servers.mkString(",")))(m =>
      Seq("--rendezvous", m.rendezvous, "--listen", m.listen))
    val command = Seq(program, "--config", config.toString, "--partition", identity.partition.toString,
                      "--stage-attempt", identity.stageAttempt.toString,
                      "--task-attempt", identity.taskAttempt.toString, "--feed-fd", "0",
                      "--log-file", logFile.toString, "--spool-dir", spoolFolder.toString) ++
      memoryBytes.toSeq.flatMap(bytes => Seq("--memory-bytes", bytes.toString)) ++ where
    try new ProcessBuilder(command: _*).start()
    catch { case error: IOException => throw WorkerFailed(identity, None, Programs.whyNotStarted(program, error)) }
  }

  private def brokenFeed(): Unit = {
    val alive = !Child.ended(process, GraceSeconds)
    if (stalled) throw failure(None, f"it has taken no data for $stallSeconds%.0f s",
                               "it hangs, or waits for a server that does not answer")
    if (alive) {
      close()
      throw failure(None, "it closed the feed but did not end", "")
    }
    outcome()
    ended = true
  }

  /** The `done` event of a worker that has exited, or its failure. */
  private def outcome(): Map[String, Any] = {
    awaitReaders()
    val status = ExitStatus.of(process)
    if (status == 0) {
      Option(ending.get("done")).getOrElse(
        throw failure(Some(status), "it ended without having said that it is done", ""))
    } else {
      val said = Option(ending.get("failed")).getOrElse(Map.empty[String, Any])
      def word(key: String) = said.get(key).collect { case text: String if text.nonEmpty => text }
      val (reason, hint) = Statuses(status)
      val loader = Option(Programs.loaderHint(noise.lines.mkString("\n"))).filter(_.nonEmpty)
      throw failure(Some(status), word("reason").getOrElse(reason), word("hint").orElse(loader).getOrElse(hint))
    }
  }

  private def failure(status: Option[Int], reason: String, hint: String): WorkerFailed =
    WorkerFailed(identity, status, reason, hint, Tail.of(logFile) ++ noise.lines)

  private def event(line: String): Unit =
    Json.readObject(line).flatMap(event => event.get("event").map((_, event))) match {
      case Some(("waiting", _)) => waited = System.nanoTime()
      case Some((name: String, event)) => if (name == "done" || name == "failed") ending.put(name, event)
      case _ => noise += line
    }

  private def watchOver(): Unit =
    while (!Child.ended(process, LookSeconds)) {
      val since = waitingSince
      if (since != 0 && System.nanoTime() - math.max(since, waited) > stallSeconds * 1e9) {
        stalled = true
        process.destroyForcibly()
      } else if (cancelled()) {
        process.destroy()
        if (!Child.ended(process, GraceSeconds)) process.destroyForcibly()
      }
    }

  private def awaitReaders(): Unit = readers.foreach(_.join((GraceSeconds * 1000).toLong))
}

private[downpour] object WorkerProcess {
  private val GraceSeconds = 5.0
  private val LookSeconds = 0.2
  private val PipeBytes = 64 << 10

  /** What an exit status of the contract, or a signal, says, and what is likely behind it. */
  private val Statuses: Map[Int, (String, String)] = Map(
    64 -> ("it refused its flags or the job file", ""),
    65 -> ("it refused the data", ""),
    69 -> ("a server, or another worker that holds parameters, could not be reached, or was lost",
      "it ended, or a firewall or an address that only the driver's host knows is in the way; the servers' logs are" +
        " in the run folder"),
    70 -> ("it failed by its own fault, or its gradients were not finite",
      "a learning rate that is too high, if the loss was growing"),
    75 -> ("it was told to stop", ""),
    76 -> ("another attempt of the same partition has its place", ""),
    78 -> ("the job and the servers disagree", "servers of another job, or of another version, at these addresses"),
    -9 -> ("it was killed", "the host or its container ran out of memory: raise spark.executor.memoryOverhead, or" +
      " lower the job's worker.feed_memory_bytes or training.batch"),
    -4 -> ("it was killed", "this host's CPU lacks an instruction that the program uses"),
    -11 -> ("it was killed", "an error in the program itself"),
    -6 -> ("it was killed", "an error in the program itself")
  ).withDefault(status => (if (status < 0) "it was killed" else "it ended unexpectedly", ""))
}
