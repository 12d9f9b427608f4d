package downpour

import java.io.IOException
import java.nio.charset.StandardCharsets.UTF_8
import java.nio.file.{Files, Path, Paths}
import java.util.concurrent.TimeUnit

/** Where a supervised job runs.
  *
  * @param strong all its workers must run at once
  * @param rendezvous where the shards live in the workers, "host:port" at which these meet; "" where servers hold them
  */
private[downpour] final case class RunningJob(servers: Seq[String], jobFile: Path, runDir: Path, strong: Boolean,
                                              rendezvous: String)

/** A running ps-run, as the supervisor of a job whose workers somebody else launches: it starts the servers, shows
  * progress, measures accuracy, and ends when the partitions are done or this JVM is gone.
  *
  * Neither it nor a server is left once this is closed. It writes to this process's standard output; its standard error
  * is passed on and its last lines are kept for error messages. For one thread.
  *
  * @param settings in place of the job's own keys of these paths
  * @param attach the servers run already, at the job's servers.addresses; they are neither started nor ended
  */
private[downpour] final class Supervisor(job: Job, settings: Map[String, Any], attach: Boolean) extends AutoCloseable {
  import Supervisor._

  private val folder = Folder.temporary()
  private val clusterFile = folder.resolve("cluster.json")
  private val errors = new Tail
  private val noStart = if (attach) "the run could not begin on its servers" else "the run could not begin"
  private var runDir: Option[Path] = None // once it is known
  // Its standard input is the lifeline.
  private val process = start()
  private val reader = Child.onLines("downpour-run", process.getErrorStream) { line =>
    errors += line
    System.err.println(line)
  }

  /** Waits until all servers, or the workers' rendezvous, listen. TrainingFailed if ps-run ends before, or takes too
    * long.
    */
  def awaitStarted(): RunningJob = {
    val deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(StartSeconds)
    while (!Files.exists(clusterFile)) {
      if (Child.ended(process, LookSeconds) && !Files.exists(clusterFile)) throw ended(noStart)
      if (System.nanoTime() > deadline) throw new TrainingFailed(s"$noStart within $StartSeconds s")
    }
    val cluster = Json.readObject(Files.readString(clusterFile)).get
    cluster.get("error").foreach(error => throw new TrainingFailed(s"$noStart: $error"))
    runDir = Some(Paths.get(cluster("run_dir").toString))
    RunningJob(cluster("servers").asInstanceOf[Seq[_]].map(_.toString), Paths.get(cluster("job_file").toString),
               runDir.get,
               cluster("strong") == true, cluster.get("rendezvous").fold("")(_.toString))
  }

  /** Waits until ps-run has ended well. TrainingFailed if it does not, or takes too long. */
  def awaitFinished(): Unit = {
    if (!Child.ended(process, FinishSeconds)) throw new TrainingFailed(
      s"all partitions are done, but ps-run has not ended for $FinishSeconds s")
    if (process.exitValue != 0) throw ended("all partitions are done, but the run did not end well")
  }

  /** Why ps-run has ended, if it has, and not well. */
  def failure(): Option[TrainingFailed] =
    Option.when(!process.isAlive && process.exitValue != 0)(ended("the job's supervisor ended"))

  def hasEnded: Boolean = !process.isAlive

  /** Whether ps-run has ended well: all partitions were trained on, and the model is written. */
  def isDone: Boolean = hasEnded && process.exitValue == 0

  /** The run's summary.json; empty as long as there is none. */
  def summary: Map[String, Any] = runDir.flatMap(readSummary).getOrElse(Map.empty)

  /** Ends ps-run and its servers, if they run: by SIGTERM, then by the lifeline, then by SIGKILL. The first line of
    * `reason` stands in the run's summary.
    */
  def stop(reason: String): Unit = {
    if (process.isAlive) {
      try {
        process.getOutputStream.write(reason.linesIterator.nextOption().getOrElse("").getBytes(UTF_8).take(ReasonBytes))
        process.getOutputStream.flush()
      } catch { case _: IOException => () } // it has ended
      process.destroy()
      val interrupted = Thread.interrupted()
      Child.ended(process, GraceSeconds)
      if (interrupted) Thread.currentThread.interrupt()
    }
    Child.end(process, 1)
  }

  override def close(): Unit = {
    stop("")
    val interrupted = Thread.interrupted()
    reader.join((GraceSeconds * 1000).toLong)
    if (interrupted) Thread.currentThread.interrupt()
    Folder.remove(folder)
  }

  private def start(): Process = {
    val command = Seq(Programs.path(Programs.Run), job.path.toString, "--launcher", "external", "--cluster-file",
                      clusterFile.toString, "--lifeline-fd", "0") ++ Job.flags(settings) ++ Option.when(attach)("--attach")
    System.out.flush()
    try new ProcessBuilder(command: _*).redirectOutput(ProcessBuilder.Redirect.INHERIT).start()
    catch {
      case error: IOException =>
        Folder.remove(folder)
        throw new TrainingFailed(Programs.whyNotStarted(command.head, error), error)
    }
  }

  private def ended(what: String): TrainingFailed = {
    reader.join(1000)
    val said = errors.lines.mkString("\n")
    val hint = Programs.loaderHint(said)
    val detail =
      (if (said.isEmpty) problems.mkString("; ") else said) + (if (hint.isEmpty) "" else "\nlikely cause: " + hint)
    new TrainingFailed(message(s"$what: ps-run ended with status ${ExitStatus.of(process)}", detail))
  }

  /** What ps-run's summary says went wrong; nothing where there is no summary. */
  private def problems: Seq[String] =
    summary.get("problems").collect { case list: Seq[_] => list.map(_.toString) }.getOrElse(Nil)
}

private[downpour] object Supervisor {
  private val StartSeconds = 120L
  private val FinishSeconds = 600.0
  private val GraceSeconds = 10.0
  private val LookSeconds = 0.02
  private val ReasonBytes = 4096 // a pipe takes so much without waiting

  private def readSummary(runDir: Path): Option[Map[String, Any]] =
    try Json.readObject(Files.readString(runDir.resolve("summary.json")))
    catch { case _: IOException => None }

  def message(what: String, detail: String): String = if (detail.isEmpty) what else s"$what: $detail"
}
