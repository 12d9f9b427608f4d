package downpour

import java.io.{BufferedReader, IOException, InputStream, InputStreamReader, RandomAccessFile}
import java.net.InetAddress
import java.nio.charset.StandardCharsets.UTF_8
import java.nio.file.{Files, Path}
import java.util.Comparator
import java.util.concurrent.TimeUnit

import scala.collection.mutable
import scala.util.Using

/** Exit statuses that worker/CONTRACT.md gives a meaning. */
private[downpour] object ExitStatus {
  val Usage = 64
  val LostAnother = 69
  /** The job, its flags or its data. */
  val Wrong: Set[Int] = Set(64, 65, 78)

  /** As Java gives it, 128 and the signal's number for a signal; here that is the negative number. */
  def of(process: Process): Int = {
    val value = process.exitValue
    if (value > 128) 128 - value else value
  }
}

private[downpour] object Host {
  def name: String =
    try InetAddress.getLocalHost.getHostName
    catch { case _: IOException => "?" }
}

/** The last lines of what somebody says. Any thread may add and look. */
private[downpour] final class Tail {
  private val kept = mutable.Queue.empty[String]

  def +=(line: String): Unit = synchronized {
    if (kept.size == Tail.Lines) kept.dequeue()
    kept.enqueue(line)
  }

  def lines: Seq[String] = synchronized(kept.toVector)
}

private[downpour] object Tail {
  val Lines = 50
  private val Bytes = 64 * 1024

  /** The last lines of a file; none if it cannot be read. */
  def of(path: Path): Seq[String] =
    try Using.resource(new RandomAccessFile(path.toFile, "r")) { file =>
      val size = math.min(file.length, Bytes).toInt
      val bytes = new Array[Byte](size)
      file.seek(file.length - size)
      file.readFully(bytes)
      new String(bytes, UTF_8).linesIterator.toVector.takeRight(Lines)
    } catch { case _: IOException => Nil }
}

private[downpour] object Child {
  /** A daemon thread that hands over each line of a stream until it ends. */
  def onLines(name: String, stream: InputStream)(take: String => Unit): Thread = onThread(name) {
    try Using.resource(new BufferedReader(new InputStreamReader(stream, UTF_8))) { reader =>
      Iterator.continually(reader.readLine()).takeWhile(_ != null).foreach(take)
    } catch { case _: IOException => () } // closed with the process
  }

  def onThread(name: String)(action: => Unit): Thread = {
    val thread = new Thread(() => action, name)
    thread.setDaemon(true)
    thread.start()
    thread
  }

  /** Waits so long for an end; whether it came. */
  def ended(process: Process, seconds: Double): Boolean =
    process.waitFor((seconds * 1000).toLong, TimeUnit.MILLISECONDS)

  /** Ends a child that nobody needs any more, by its closed standard input, then SIGTERM, then SIGKILL.
    *
    * It is waited for even where the calling thread is interrupted, and the interrupt comes after.
    */
  def end(process: Process, graceSeconds: Double): Unit = {
    val interrupted = Thread.interrupted()
    try process.getOutputStream.close()
    catch { case _: IOException => () }
    if (!endsWithin(process, graceSeconds)) {
      process.destroy()
      if (!endsWithin(process, graceSeconds)) process.destroyForcibly()
    }
    if (interrupted) Thread.currentThread.interrupt()
  }

  private def endsWithin(process: Process, seconds: Double): Boolean =
    try ended(process, seconds)
    catch { case _: InterruptedException => false }
}

private[downpour] object Folder {
  def temporary(): Path = Files.createTempDirectory("downpour-")

  def remove(folder: Path): Unit =
    try Using.resource(Files.walk(folder)) { paths =>
      paths.sorted(Comparator.reverseOrder[Path]).forEach(path => Files.deleteIfExists(path))
    }
    catch { case _: IOException => () }
}
