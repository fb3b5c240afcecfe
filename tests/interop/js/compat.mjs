// What js-libp2p 3 takes for granted and Node 20 lacks.
Promise.withResolvers ??= function () {
  let resolve, reject
  const promise = new this((onValue, onError) => { resolve = onValue; reject = onError })
  return { promise, resolve, reject }
}
