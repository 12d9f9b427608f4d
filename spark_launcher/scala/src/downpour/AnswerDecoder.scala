package downpour

import java.io.{DataInputStream, EOFException, IOException, InputStream}
import java.nio.charset.StandardCharsets.UTF_8
import java.nio.{ByteBuffer, FloatBuffer}

/** One batch of answers: by layer, its values for each of `rows` rows, row by row. */
private[downpour] final class Answer(val rows: Int, tensors: Seq[(AnswerDecoder.Tensor, FloatBuffer)]) {
  /** A row's values of the layer with this index. */
  def values(layer: Int, row: Int): Array[Float] = {
    val (tensor, all) = tensors(layer)
    val values = new Array[Float](tensor.width)
    all.get(row * tensor.width, values)
    values
  }
}

/** Decodes a predictor's frames (worker/CONTRACT.md) from a stream. For one thread. */
private[downpour] final class AnswerDecoder(stream: InputStream) {
  import AnswerDecoder._

  private val in = new DataInputStream(stream)
  private var tensors = Seq.empty[Tensor]

  /** Waits for the next answers; none once the stream has ended. IOException for what is no such frame. */
  def next(): Option[Answer] = {
    while (true) frame() match {
      case None => return None
      case Some((FrameEncoder.SchemaKind, body)) => tensors = schema(body)
      case Some((FrameEncoder.BatchKind, body)) => return Some(batch(body))
      case Some(_) => return None
    }
    None
  }

  private def frame(): Option[(Short, ByteBuffer)] =
    try {
      val header = FrameEncoder.buffer(FrameEncoder.HeaderBytes)
      in.readFully(header.array)
      val length = header.getLong(8)
      if (header.getInt(0) != FrameEncoder.Magic || length < 0 || length > Int.MaxValue - 8)
        throw new IOException("not a frame")
      val body = FrameEncoder.buffer(length.toInt)
      in.readFully(body.array)
      Some((header.getShort(4), body))
    } catch { case _: EOFException => None }

  private def batch(body: ByteBuffer): Answer = {
    val rows = body.getInt()
    body.getInt()
    val values = body.asFloatBuffer
    var at = 0
    new Answer(rows, tensors.map { tensor =>
      val size = Math.multiplyExact(rows, tensor.width)
      val own = values.slice(at, size)
      at += size
      (tensor, own)
    })
  }
}

private[downpour] object AnswerDecoder {
  /** A layer's name, and its values a row. */
  final case class Tensor(name: String, width: Int)

  private def schema(body: ByteBuffer): Seq[Tensor] =
    Vector.fill(body.getInt()) {
      val name = new Array[Byte](body.getShort())
      body.get(name)
      if (body.get() != TensorType.F32.code)
        throw new IOException(s"tensor ${new String(name, UTF_8)} is not of floats")
      Tensor(new String(name, UTF_8), Seq.fill(body.get().toInt)(body.getInt()).product)
    }
}
