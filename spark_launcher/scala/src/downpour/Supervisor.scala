package downpour

import java.io.IOException
import java.nio.charset.StandardCharsets.UTF_8
import java.nio.file.{Files, Path, Paths}
import java.util.concurrent.TimeUnit

/** What the launcher needs of a job file, and all of it as ps-run resolved it.
  *
  * @param rowValues values of a sample
  * @param classes that labels count; 0 where they are numbers
  */
private[downpour] final case class Job(path: Path, workers: Int, rowValues: Int, classes: Int,
                                       resolved: Map[String, Any]) {
  def section(name: String): Map[String, Any] = resolved.get(name).flatMap(Json.asObject).getOrElse(Map.empty)

  /** The type of its net's last layer. */
  def lossLayer: String =
    resolved("net").asInstanceOf[Seq[_]].lastOption.flatMap(Json.asObject).fold("")(_("type").toString)
}

private[downpour] object Job {
  /** Reads and checks a job file by ps-run, with `settings` in place of its own keys of these paths.
    *
    * TrainingFailed with ps-run's own message where it refuses.
    */
  def check(file: Path, settings: Map[String, Any] = Map.empty): Job = {
    val path = file.toAbsolutePath
    val command = Seq(Programs.path(Programs.Run), "--check", "--json", path.toString) ++
      settings.flatMap { case (key, value) => Seq("--set", s"$key=${Json.write(value)}") }
    val (status, said) = run(command)
    val answer = Json.readObject(said).getOrElse(Map.empty[String, Any])
    if (status != 0 || !answer.get("ok").contains(true)) {
      val detail = answer.get("error").map(_.toString).getOrElse(said.trim)
      throw new TrainingFailed(Supervisor.message(s"$path was refused (status $status)", detail))
    }
    val (job, net) = (Json.asObject(answer("job")).get, Json.asObject(answer("net")).get)
    Job(path, job("workers").toString.toInt, net("values").toString.toInt, net("classes").toString.toInt, job)
  }

  /** Its exit status, and what it said: on standard error where it failed there. */
  private def run(command: Seq[String]): (Int, String) =
    try {
      val process = new ProcessBuilder(command: _*).start()
      process.getOutputStream.close()
      val errors = new StringBuffer
      val reader = Child.onLines("downpour-check", process.getErrorStream)(line => errors.append(line).append('\n'))
      val said = new String(process.getInputStream.readAllBytes, UTF_8)
      process.waitFor()
      reader.join()
      (ExitStatus.of(process), if (said.trim.isEmpty) errors.toString else said)
    } catch {
      case error: IOException => throw new TrainingFailed(Programs.whyNotStarted(command.head, error), error)
    }
}

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
  */
private[downpour] final class Supervisor(job: Job) extends AutoCloseable {
  import Supervisor._

  private val folder = Folder.temporary()
  private val clusterFile = folder.resolve("cluster.json")
  private val errors = new Tail
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
      if (Child.ended(process, LookSeconds) && !Files.exists(clusterFile)) throw ended("the servers did not start")
      if (System.nanoTime() > deadline) throw new TrainingFailed(s"the servers did not start within $StartSeconds s")
    }
    val cluster = Json.readObject(Files.readString(clusterFile)).get
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

  /** Tells ps-run why it is about to be closed; the first line stands in the run's summary. */
  def sayWhy(reason: String): Unit =
    try {
      process.getOutputStream.write(reason.linesIterator.nextOption().getOrElse("").getBytes(UTF_8).take(ReasonBytes))
      process.getOutputStream.flush()
    } catch { case _: IOException => () } // it has ended

  override def close(): Unit = {
    if (process.isAlive) process.destroy() // its own way to end in order; the lifeline comes next
    val interrupted = Thread.interrupted()
    Child.ended(process, GraceSeconds)
    if (interrupted) Thread.currentThread.interrupt()
    Child.end(process, 1)
    reader.join((GraceSeconds * 1000).toLong)
    Folder.remove(folder)
  }

  private def start(): Process = {
    val command = Seq(Programs.path(Programs.Run), job.path.toString, "--launcher", "external", "--cluster-file",
                      clusterFile.toString, "--lifeline-fd", "0")
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
    runDir.flatMap(Supervisor.summary).flatMap(_.get("problems")) match {
      case Some(list: Seq[_]) => list.map(_.toString)
      case _ => Nil
    }
}

private[downpour] object Supervisor {
  private val StartSeconds = 120L
  private val FinishSeconds = 600.0
  private val GraceSeconds = 10.0
  private val LookSeconds = 0.02
  private val ReasonBytes = 4096 // a pipe takes so much without waiting

  /** The summary.json of a run's folder. */
  def summary(runDir: Path): Option[Map[String, Any]] =
    try Json.readObject(Files.readString(runDir.resolve("summary.json")))
    catch { case _: IOException => None }

  def message(what: String, detail: String): String = if (detail.isEmpty) what else s"$what: $detail"
}
