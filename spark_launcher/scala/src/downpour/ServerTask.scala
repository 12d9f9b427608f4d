package downpour

import java.io.{BufferedInputStream, IOException}
import java.net.{InetSocketAddress, Socket}
import java.nio.charset.StandardCharsets.UTF_8
import java.nio.file.{Files, Path}
import java.util.concurrent.CompletableFuture

import scala.util.Using

import org.apache.spark.{BarrierTaskContext, TaskContext}

/** What the tasks that run servers must know. It travels to executors.
  *
  * @param host where the driver waits for them, as is `port`
  * @param token shows it that a line comes from a task of this run
  */
private[downpour] final case class ServerPlan(host: String, port: Int, token: String, jobText: String)

/** What a server's task leaves: the end of its log. */
private[downpour] final case class ServerLog(server: Int, log: Array[Byte])

/** A server that did not start, or ended before it was told to. */
private final class ServerEnded(message: String) extends RuntimeException(message)

/** The function that runs inside a Spark task whose child is a parameter server.
  *
  * The task connects to the driver (ServerStage), starts ps-server on the address by which it got there, and says where
  * it listens, as one line of JSON. It lives for as long as the driver keeps that connection open; a server that ends
  * before is told as a second line. The server itself ends when this JVM is gone.
  */
private[downpour] final class ServerTask(plan: ServerPlan)
    extends (Iterator[Int] => Iterator[ServerLog]) with Serializable {
  import ServerTask._

  override def apply(none: Iterator[Int]): Iterator[ServerLog] = {
    val index = BarrierTaskContext.get().partitionId()
    val folder = Folder.temporary()
    try {
      val log = folder.resolve("server.log")
      Using.resource(new Socket) { driver =>
        driver.connect(new InetSocketAddress(plan.host, plan.port), ConnectMs)
        driver.setKeepAlive(true)
        serve(driver, index, folder, log)
      }
      Iterator.single(ServerLog(index, endOf(log)))
    } finally Folder.remove(folder)
  }

  private def serve(driver: Socket, index: Int, folder: Path, log: Path): Unit = {
    def say(more: Map[String, Any]): Unit = {
      val own = Map[String, Any]("token" -> plan.token, "server" -> index, "host" -> Host.name)
      driver.getOutputStream.write((Json.write(own ++ more) + "\n").getBytes(UTF_8))
    }
    val told = new CompletableFuture[Unit] // by the driver, that it is enough
    Child.onThread("downpour-driver") {
      try while (driver.getInputStream.read() >= 0) ()
      catch { case _: IOException => () } finally told.complete(())
    }
    try {
      val config = Files.writeString(folder.resolve("job.yaml"), plan.jobText)
      Using.resource(new ServerProcess(config, index, Placement.anyPortAt(driver), log)) { server =>
        val context = TaskContext.get()
        var listens = false
        while (!told.isDone && !context.isInterrupted()) {
          server.checkRuns()
          if (!listens) server.listening.foreach { where =>
            say(where)
            listens = true
          }
        }
      }
    } catch {
      case ended: ServerEnded =>
        say(Map("reason" -> ended.getMessage, "log" -> Tail.of(log).map(_.take(MostOfALine))))
        throw ended
    }
  }
}

private object ServerTask {
  private val ConnectMs = 30000
  private val MostOfALog = 4 << 20
  private val MostOfALine = 200

  private def endOf(log: Path): Array[Byte] =
    try Using.resource(new BufferedInputStream(Files.newInputStream(log))) { in =>
      in.skipNBytes(math.max(0, Files.size(log) - MostOfALog))
      in.readNBytes(MostOfALog)
    } catch { case _: IOException => Array.emptyByteArray }
}

/** One ps-server child, not left once this is closed. Its standard input is its lifeline.
  *
  * @param address "host:port" to listen on, for workers and for those who look at its metrics
  */
private final class ServerProcess(config: Path, index: Int, address: String, log: Path) extends AutoCloseable {
  import ServerProcess._

  private val errors = new Tail
  private val said = new CompletableFuture[Map[String, Any]]
  private val process = start()
  private val readers = Seq(
    Child.onLines("downpour-server", process.getInputStream)(Json.readObject(_).filter(_.contains("address")).foreach(
      event => said.complete(event.view.filterKeys(Set("address", "metrics")).toMap))),
    Child.onLines("downpour-server-errors", process.getErrorStream)(errors += _))

  /** Its address and that of its metrics, once it listens. */
  def listening: Option[Map[String, Any]] = Option(said.getNow(null))

  /** Looks for a moment whether it runs; ServerEnded if it does not. */
  def checkRuns(): Unit = if (Child.ended(process, LookSeconds)) {
    readers.foreach(_.join(1000))
    val status = ExitStatus.of(process)
    val how = if (status < 0) s"it was killed by signal ${-status}" else s"it ended with status $status"
    val words = errors.lines.mkString("\n").trim
    throw new ServerEnded(Seq(how, words, Programs.loaderHint(words)).filter(_.nonEmpty).mkString(": "))
  }

  override def close(): Unit = {
    process.destroy() // its own way to end in order; the lifeline comes next
    Child.end(process, GraceSeconds)
  }

  private def start(): Process = {
    val program = try Programs.path(Programs.Server)
    catch { case error: TrainingFailed => throw new ServerEnded(error.getMessage) }
    val command = Seq(program, "--config", config.toString, "--index", index.toString, "--listen", address, "--metrics",
                      address, "--log-file", log.toString, "--lifeline-fd", "0")
    try new ProcessBuilder(command: _*).start()
    catch { case error: IOException => throw new ServerEnded(Programs.whyNotStarted(program, error)) }
  }
}

private object ServerProcess {
  private val LookSeconds = 0.05
  private val GraceSeconds = 10.0
}
