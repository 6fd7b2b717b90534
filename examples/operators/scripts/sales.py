import digdag


def total(prices, currency="EUR"):
    digdag.env.store({"total": sum(prices), "currency": currency})


def cleanup():
    print("nothing to clean")
