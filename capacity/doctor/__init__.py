"""`capacity doctor`: what is wrong with a deployment, and how to mend it. May import everything; nothing imports it but the program.

`inquiry` asks the store and `machine` this machine; what they found is judged without I/O, in `diagnosis`, `configuration` and `machine`.
`examination` puts it together, and `findings` is what comes out.
"""
