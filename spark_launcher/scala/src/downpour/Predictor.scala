package downpour

import java.io.{BufferedInputStream, IOException}
import java.nio.charset.StandardCharsets.UTF_8
import java.nio.file.{Files, Path}
import java.util.concurrent.ArrayBlockingQueue

/** Computes layers' values of rows in a ps-predict of its own, which is gone once this is closed.
  *
  * Frames that are written to it go out on a thread of its own, so that answers can be read at the same time. All calls
  * come from one thread. PredictionFailed is thrown where it fails.
  *
  * @param jobText the job file, whose net and data section count
  * @param model the parameters, as the bytes of a safetensors file
  * @param layers whose values; none for the last before the loss, the scores
  */
private[downpour] final class Predictor(jobText: String, model: Array[Byte], layers: Seq[String])
    extends FrameSink with AutoCloseable {
  import Predictor._

  private val folder = Folder.temporary()
  private val errors = new Tail
  private val process = start()
  private val noise = Child.onLines("downpour-predict", process.getErrorStream)(errors += _)
  private val answers = new AnswerDecoder(new BufferedInputStream(process.getInputStream, 1 << 20))
  private val waiting = new ArrayBlockingQueue[Array[Byte]](FramesWaiting)
  private val writer = Child.onThread("downpour-feed")(writeAll())
  @volatile private var closed = false

  /** Takes a part of the feed. Waits where the predictor is some batches behind. */
  override def write(bytes: Array[Byte], length: Int): Unit = waiting.put(java.util.Arrays.copyOf(bytes, length))

  /** Waits for the next answers to rows that were written, in their order. */
  def next(): Answer =
    try answers.next().getOrElse(throw failure())
    catch { case error: IOException => throw new PredictionFailed(s"ps-predict answers ${error.getMessage}", error) }

  override def close(): Unit = if (!closed) {
    closed = true
    writer.interrupt()
    process.destroyForcibly() // or a write that it does not take would keep its standard input from being closed
    Child.end(process, GraceSeconds)
    Folder.remove(folder)
  }

  private def start(): Process = {
    try {
      val program = Programs.path(Programs.Predict)
      val config = written("job.yaml", jobText.getBytes(UTF_8))
      val parameters = written("model.safetensors", model)
      val command = Seq(program, "--config", config.toString, "--model", parameters.toString) ++
        (if (layers.isEmpty) Nil else Seq("--layers", layers.mkString(",")))
      try new ProcessBuilder(command: _*).start()
      catch { case error: IOException => throw new PredictionFailed(Programs.whyNotStarted(program, error), error) }
    } catch {
      case error: Throwable =>
        Folder.remove(folder)
        throw error
    }
  }

  private def written(name: String, bytes: Array[Byte]): Path =
    try Files.write(folder.resolve(name), bytes)
    catch { case error: IOException => throw new PredictionFailed(s"$name cannot be written to $folder: $error", error) }

  private def writeAll(): Unit =
    try while (!closed) {
      process.getOutputStream.write(waiting.take())
      if (waiting.isEmpty) process.getOutputStream.flush()
    } catch {
      case _: IOException => while (!closed) drain() // who reads the answers sees the end
      case _: InterruptedException => ()
    }

  /** Takes what nobody can have any more, so that who writes does not wait for ever. */
  private def drain(): Unit =
    try waiting.take()
    catch { case _: InterruptedException => () }

  private def failure(): PredictionFailed =
    if (!Child.ended(process, GraceSeconds)) new PredictionFailed("ps-predict closed its pipes but did not end")
    else {
      noise.join((GraceSeconds * 1000).toLong)
      val status = ExitStatus.of(process)
      val said = errors.lines.mkString("\n")
      val hint = Programs.loaderHint(said)
      new PredictionFailed((if (said.isEmpty) "ps-predict ended" else said) +
        (if (status < 0) s" (signal ${-status})" else s" (exit status $status)") +
        (if (hint.isEmpty) "" else s"\nlikely cause: $hint"))
    }
}

private[downpour] object Predictor {
  private val GraceSeconds = 5.0
  private val FramesWaiting = 2
}
