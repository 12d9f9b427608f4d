package downpour

import scala.concurrent.duration.FiniteDuration
import scala.concurrent.{Await, Awaitable, TimeoutException}

private[downpour] object Futures {
  /** Waits so long at most; whether it has ended. */
  def isDone(action: Awaitable[_], within: FiniteDuration): Boolean =
    try { Await.ready(action, within); true }
    catch { case _: TimeoutException => false }
}
