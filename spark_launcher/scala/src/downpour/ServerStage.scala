package downpour

import java.io.{ByteArrayOutputStream, IOException, InputStream}
import java.net.{InetAddress, ServerSocket, Socket}
import java.nio.charset.StandardCharsets.UTF_8
import java.nio.file.{Files, Path}
import java.security.{MessageDigest, SecureRandom}
import java.util.HexFormat

import scala.collection.mutable
import scala.concurrent.duration._
import scala.util.{Failure, Success, Using}

import org.apache.spark.{FutureAction, SparkContext}

/** Where a server and its /metrics listen. */
private[downpour] final case class Listening(address: String, metrics: String)

/** A run's parameter servers as the tasks of a Spark job of their own, which runs beside the workers'. They have ended
  * once this is closed.
  *
  * The tasks connect to a port of this host and stay connected. Closing the connections ends them. Any thread may ask
  * for a failure; the rest is for one.
  *
  * @param count number of servers, each a task that keeps a slot
  * @param host an address of this host that executors reach
  */
private[downpour] final class ServerStage private (context: SparkContext, job: Job, val count: Int, host: String,
                                                   listener: ServerSocket)
    extends AutoCloseable {
  import ServerStage._

  private val token = HexFormat.of.formatHex(new SecureRandom().generateSeed(16))
  // Guarded by this object:
  private val servers = mutable.Map.empty[Int, Listening]
  private val connections = mutable.Set.empty[Socket]
  private var failed = Option.empty[TrainingFailed] // the first, none once the end has begun
  private var ending = false

  private val action: FutureAction[Seq[ServerLog]] = {
    val plan = ServerPlan(host, listener.getLocalPort, token, Json.write(job.resolved))
    context.parallelize(0 until count, count).barrier().mapPartitions(new ServerTask(plan)).collectAsync()
  }
  Child.onThread("downpour-accept")(accept())

  /** Where all servers listen, once they do. TrainingFailed if one does not start within two minutes. */
  def awaitStarted(): Seq[Listening] = {
    val deadline = Start.fromNow
    while (failure().isEmpty && started < count && deadline.hasTimeLeft()) Thread.sleep(LookMs)
    failure().foreach(throw _)
    synchronized {
      if (servers.size < count) throw new TrainingFailed(
        s"${count - servers.size} of $count servers did not start as tasks within $Start: Spark may have too few slots" +
          s" for them, or executors do not reach this driver at $host")
      (0 until count).map(servers)
    }
  }

  /** Why the servers did not last, as soon as it is known and within this time. */
  def failure(within: FiniteDuration = Duration.Zero): Option[TrainingFailed] = {
    val deadline = within.fromNow
    while (known().isEmpty && deadline.hasTimeLeft()) Thread.sleep(LookMs)
    known()
  }

  override def close(): Unit = {
    val (open, all) = synchronized {
      ending = true
      (connections.toSeq, servers.size == count)
    }
    shut(listener)
    open.foreach(shut(_))
    val interrupted = Thread.interrupted()
    // Where not all have begun, Spark may not even have room for the stage.
    if (!Futures.isDone(action, if (all) Drain else Duration.Zero)) {
      action.cancel()
      Futures.isDone(action, Cancel)
    }
    if (interrupted) Thread.currentThread.interrupt()
  }

  /** Leaves the servers' logs in a folder, once they have ended; nothing of those that ended badly. */
  def writeLogs(folder: Path): Unit = action.value.flatMap(_.toOption).getOrElse(Nil).foreach(one =>
    Files.write(folder.resolve(s"server-${one.server}.log"), one.log))

  private def started: Int = synchronized(servers.size)

  private def known(): Option[TrainingFailed] = {
    action.value.foreach {
      case Success(_) => fail("the servers' tasks have ended")
      case Failure(error) => fail("the servers' Spark job failed: " + SparkFailed.reason(error))
    }
    synchronized(failed)
  }

  private def fail(sentence: String, log: Seq[String] = Nil): Unit = synchronized {
    if (!ending && failed.isEmpty) {
      val tail = if (log.isEmpty) Nil else "its last log lines:" +: log.map("    " + _)
      failed = Some(new TrainingFailed((sentence +: tail).mkString("\n")))
    }
  }

  private def accept(): Unit =
    while (!synchronized(ending)) {
      try {
        val connection = listener.accept()
        connection.setSoTimeout(Start.toMillis.toInt) // whoever is no task says nothing
        val welcome = synchronized {
          val room = !ending && connections.size < count + Strangers
          if (room) connections += connection
          room
        }
        if (!welcome) shut(connection) else Child.onThread("downpour-server")(listen(connection))
      } catch { case _: IOException => Thread.sleep(LookMs) } // closed, or such as no descriptor left
    }

  /** What a task says, up to its end. */
  private def listen(connection: Socket): Unit = {
    var name = Option.empty[String]
    try Using.resource(connection) { open =>
      Iterator.continually(line(open.getInputStream).flatMap(understood)).takeWhile(_.isDefined).flatten.foreach { said =>
        open.setSoTimeout(0)
        name = Some(s"server ${said.server} on ${said.host}")
        said.outcome match {
          case Left((reason, log)) => fail(s"${name.get} failed: $reason", log)
          case Right(listening) => synchronized(servers(said.server) = listening)
        }
      }
    } catch { case _: IOException => () }
    synchronized(connections -= connection)
    name.foreach(who => fail(
      s"$who was lost, and its parameters with it: its executor, or its host, is gone; the job has to begin again"))
  }

  /** A line of a task of this run; none for any other. */
  private def understood(text: String): Option[Said] =
    for {
      said <- Json.readObject(text)
      given <- said.get("token").map(_.toString)
      if MessageDigest.isEqual(given.getBytes(UTF_8), token.getBytes(UTF_8))
      server <- said.get("server").collect { case index: Integer if index >= 0 && index < count => index.intValue }
      host = said.get("host").fold("?")(_.toString)
      outcome <- said.get("reason") match {
        case Some(reason) =>
          Some(Left(reason.toString -> said.get("log").collect { case log: Seq[_] => log.map(_.toString) }.getOrElse(Nil)))
        case None =>
          for (address <- said.get("address"); metrics <- said.get("metrics"))
            yield Right(Listening(address.toString, metrics.toString))
      }
    } yield Said(server, host, outcome)
}

private[downpour] object ServerStage {
  /** Has them started. TrainingFailed if this host cannot listen for them. */
  def start(context: SparkContext, job: Job, count: Int, host: String): ServerStage = {
    val listener = try new ServerSocket(0, math.max(64, count), InetAddress.getByName(host))
    catch {
      case error: IOException => throw new TrainingFailed(
        s"servers='tasks': their tasks report to this driver, which cannot listen on $host: ${error.getMessage}; set" +
          " spark.driver.host to an address of this host that executors reach", error)
    }
    try new ServerStage(context, job, count, host, listener)
    catch {
      case error: Throwable =>
        shut(listener)
        throw error
    }
  }

  private val Start = 120.seconds
  private val Drain = 20.seconds
  private val Cancel = 10.seconds
  private val LookMs = 50L
  /** Connections of no task, which are let wait to say what they are; more are closed at once. */
  private val Strangers = 1000
  private val MostOfALine = 1 << 16

  private final case class Said(server: Int, host: String, outcome: Either[(String, Seq[String]), Listening])

  /** The next line; none at the end, and for one that is too long. */
  private def line(in: InputStream): Option[String] = {
    val bytes = new ByteArrayOutputStream
    val last = Iterator.continually(in.read()).dropWhile { byte =>
      val more = byte >= 0 && byte != '\n' && bytes.size < MostOfALine
      if (more) bytes.write(byte)
      more
    }.next()
    Option.when(last == '\n')(bytes.toString(UTF_8))
  }

  private def shut(open: AutoCloseable): Unit =
    try open.close()
    catch { case _: IOException => () }
}
